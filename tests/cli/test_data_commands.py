"""`gfkeras prepare` and `gfkeras data` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfkeras.cli import main
from gfkeras.data import RecordSet
from gfkeras.data.prepare import PrepareOptions, prepare


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for person in range(3):
        (root / f"p{person}").mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (100, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"p{person}" / f"{number}.png")
    (root / "p0" / "text.jpg").write_text("text")
    return root


def test_prepare_stats_check_and_extract(photos, tmp_path, capfd):
    out = tmp_path / "records"
    result = tmp_path / "r.json"
    arguments = ["prepare", str(photos), str(out), "--holdout", "1", "--workers", "1"]
    assert main([*arguments, "--quiet"]) == 2
    assert "90x100 pixels, not an aligned face of 112x112" in capfd.readouterr().err
    out = tmp_path / "resized"
    arguments = [*arguments[:2], str(out), *arguments[3:], "--resize"]
    assert main([*arguments, "--json", str(result)]) == 0
    printed = capfd.readouterr()
    assert "scaled 12 images that were not 112x112" in printed.out
    assert "1 not-an-image" in printed.out
    assert "Writing shards" in printed.err
    found = json.loads(result.read_text())
    assert (found["images"], found["identities"], found["heldout_images"]) == (12, 3, 4)
    assert main([*arguments, "--quiet"]) == 0
    assert not capfd.readouterr().err

    assert main(["data", "check", str(out)]) == 0
    assert "train and heldout are intact" in capfd.readouterr().out
    sheet = tmp_path / "sheet.png"
    embeddings = tmp_path / "e.npz"
    paths = np.array([str(photos / f"p{i // 4}" / f"{i % 4}.png") for i in range(12)])
    np.savez(embeddings, embedding=np.eye(12)[[0, 0, *range(2, 12)]], path=paths)
    base = ["data", "stats", str(photos), "--sheet", str(sheet), "--embeddings", str(embeddings)]
    assert main([*base, "--json", str(result)]) == 0
    assert "Near-duplicates: 1" in capfd.readouterr().out
    found = json.loads(result.read_text())
    assert (found["images"], found["skipped"], found["sizes"]) == (12, 1, {"90x100": 12})
    assert found["near_duplicates"][0]["first"] == "p0/0.png"
    with Image.open(sheet) as image:
        assert image.width > 900
    assert main(["data", "stats", str(out), "--split", "heldout"]) == 0
    assert "4 of 1 people" in capfd.readouterr().out

    files = tmp_path / "files"
    assert main(["data", "extract", str(out), str(files)]) == 0
    assert len(list(files.rglob("*.jpg"))) == 8
    record = RecordSet(out).record(0)
    assert (files / f"{record.name}.jpg").read_bytes() == record.image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "none", "out"], "none"),
        (["prepare", "{photos}", "out", "--size", "112x96"], "belongs to alignment"),
        (["prepare", "{photos}", "out", "--face", "all"], "belongs to alignment"),
        (["prepare", "{photos}", "out", "--align", "--resize"], "`resize` is for faces"),
        (["prepare", "{photos}", "out", "--format", "foldr"], "did you mean 'folder'"),
        (["prepare", "{photos}", "out", "--source", "root"], "key=value"),
        (["prepare", "{photos}", "out", "--holdout", "3", "--resize"], "fewer than the 3 people"),
        (["prepare", "{photos}", "out", "--min-images", "5", "--resize"], "usable images"),
        (["prepare", "{photos}", "{photos}/out"], "outside of the source"),
        (["data", "check", "."], "gfkeras prepare"),
        (["data", "stats", "{photos}", "--sheet", "a.jpg"], "must end in .png"),
        (["data", "stats", "{photos}", "--embeddings", "none.npz"], "none.npz"),
    ],
)
def test_wrong_use(photos, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(photos=photos) for argument in arguments]
    assert main([*filled, "--quiet"] if filled[0] == "prepare" else filled) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("gfkeras: error: ")
    assert message in error


def test_extract_does_not_leave_the_folder(photos, tmp_path, monkeypatch):
    from gfkeras.data.records import record_set
    from gfkeras.data.records.selection import extract

    prepare(photos, tmp_path / "records", PrepareOptions(resize=True), workers=1)
    records = RecordSet(tmp_path / "records")
    decode = record_set.tfrecord.decode

    def hostile(data):
        import dataclasses

        return dataclasses.replace(decode(data), name="../../outside.jpg")

    monkeypatch.setattr(record_set.tfrecord, "decode", hostile)
    written, skipped = extract(records, tmp_path / "files")
    assert written == 0
    assert len(skipped) == 12
    assert not list(tmp_path.rglob("outside.jpg"))
