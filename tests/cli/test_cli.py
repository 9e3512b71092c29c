"""The command line: results, exit statuses and one-line errors of single commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from failing_commands import fails
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cli import main
from gfkeras.files import sha256
from gfkeras.zoo import DEFAULT_PRESET

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the runtimes and exports need TensorFlow"
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Four people with four images each."""
    root = tmp_path_factory.mktemp("cli") / "faces"
    rng = np.random.default_rng(0)
    for person in range(4):
        colour = rng.integers(60, 196, 3)
        (root / f"p{person}").mkdir(parents=True)
        for index in range(4):
            noise = rng.integers(-40, 41, (112, 112, 3))
            image = Image.fromarray((colour + noise).astype(np.uint8))
            image.save(root / f"p{person}" / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """An untrained GroupFace in a folder."""
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16,
        num_groups=3,
        shared_dim=None,
        group_dim=16,
        mode="hard",
    )
    return str(network.save_to(tmp_path_factory.mktemp("cli") / "model"))


@pytest.fixture(scope="module")
def tflite(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "model.tflite"
    assert main(["export", model, "--format", "tflite", "--out", str(path)]) == 0
    return path


def results(path: Path) -> dict:
    return json.loads(path.read_text())


def test_train(faces, tmp_path, capfd):
    recipe = tmp_path / "my.toml"
    recipe.write_text(
        "[data]\nholdout_identities = 2\n[model]\nembedding_dim = 16\nnum_groups = 2\n"
        "group_dim = 16\nshared_dim = 'none'\n"
        "[model.backbone]\nname = 'MobileFaceNet'\nwidth = 0.0625\n"
        f"bottlenecks = {SMALL_BOTTLENECKS}\n"
    )
    arguments = ["train", str(recipe), "--data", str(faces), "--out", str(tmp_path / "run")]
    settings = ["--set", "training.epochs=1", "--set", "training.batch_size=4"]
    assert main([*arguments, *settings, "--json", str(tmp_path / "r.json")]) == 0
    assert "Held-out accuracy" in capfd.readouterr().out
    summary = results(tmp_path / "r.json")
    assert (summary["epochs"], summary["identities"], summary["heldout_identities"]) == (1, 2, 2)
    assert Path(summary["last"]).is_dir()
    assert "already holds a run" in fails(capfd, *arguments, *settings)
    names = tmp_path / "names.txt"
    names.write_text("p1\np2\np33\n")
    assert "did you mean 'p3'" in fails(capfd, *arguments, "--identities", str(names))
    names.write_text("p1\n")
    lonely = ["--identities", str(names), "--set", "data.holdout_identities=0", "--resume"]
    assert "at least two identities" in fails(capfd, *arguments, *settings, *lonely)


def test_evaluate(faces, model, tflite, tmp_path):
    pairs = tmp_path / "pairs.csv"
    rows = [f"p{a}/{i}.png,p{b}/{j}.png,{int(a == b)}" for a in range(4) for b in range(4)
            for i, j in ((0, 1), (2, 3)) if a == b or i == 0]  # fmt: skip
    pairs.write_text("first,second,same\n" + "\n".join(rows) + "\n")
    names = tmp_path / "names.txt"
    names.write_text("p0\np1\n")
    json_file = tmp_path / "r.json"
    for extra, count in (
        (["--pairs", "all"], 120),
        (["--pairs", "20"], 20),
        (["--pairs", str(pairs), "--flip", "--plots", str(tmp_path / "plots")], len(rows)),
        (["--pairs", "all", "--identities", str(names), "--group-aware"], 28),
    ):
        base = ["evaluate", str(tflite), "--protocol", "pairs", "--data", str(faces)]
        assert main([*base, *extra, "--json", str(json_file)]) == 0
        found = results(json_file)
        assert found["pairs"] == count
        assert found["skipped"] == 0
        assert set(found) >= {"accuracy", "accuracy_std", "auc", "eer", "tar_at_far"}
        assert 0 <= found["accuracy"] <= 1
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"roc.png", "det.png", "scores.png", "thresholds.png"}
    both = []
    for which in (model, str(tflite)):
        base = ["evaluate", which, "--data", str(faces), "--pairs", "all", "--threads", "1"]
        assert main([*base, "--json", str(json_file)]) == 0
        both.append(results(json_file)["auc"])
    assert both[0] == pytest.approx(both[1], abs=1e-3)


def test_verify(faces, model, tflite, tmp_path, capfd):
    arguments = ["verify", str(tflite), model, "--data", str(faces), "--limit", "3"]
    assert main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    found = results(tmp_path / "r.json")
    assert found["images"] == 3
    # With this limit, no image of one person is chosen. That is not a skipped file.
    assert found["skipped"] == 0
    assert found["max_abs_error"] <= 1e-4
    assert set(found) >= {"mean_cosine", "min_cosine", "max_abs_error", "skipped"}

    keras.utils.set_random_seed(1)
    other = gfkeras.load(model)
    for weight in other.trainable_weights:
        weight.assign(weight + 0.3 * np.random.default_rng(0).normal(size=weight.shape))
    other.save_to(tmp_path / "other")
    arguments[2] = str(tmp_path / "other")
    # LiteRT logs once per process that it uses XNNPACK.
    capfd.readouterr()
    assert "is outside the tolerance" in fails(
        capfd, *arguments, "--json", str(tmp_path / "bad.json")
    )
    assert results(tmp_path / "bad.json")["passed"] is False


def test_a_truncated_artefact_is_refused(tflite, tmp_path, capfd):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(tflite.read_bytes()[:5000])
    assert "cut.tflite" in fails(capfd, "bench", str(cut))


def test_export_refuses_and_leaves_what_was_there(model, tflite, tmp_path, capfd):
    before = sha256(tflite)
    for extra in (["--format", "tfl"], ["--format", "onnx"], ["--format", "tflite", "--mode", "a"]):
        fails(capfd, "export", model, "--out", str(tflite), *extra)
        assert sha256(tflite) == before


def test_export_in_int8_refuses(model, faces, tmp_path, capfd):
    out = tmp_path / "int8.tflite"
    command = ["export", model, "--format", "tflite", "--out", str(out)]
    int8 = [*command, "--precision", "int8"]
    assert "requires `calibration` (--calibration DIR)" in fails(capfd, *int8)
    assert "at least 32 faces" in fails(capfd, *int8, "--calibration", str(faces))
    assert "must be a folder of faces" in fails(capfd, *int8, "--calibration", str(out))
    assert "`precision` (--precision) int8" in fails(capfd, *command, "--calibration", str(faces))
    assert "`precision` (--precision) int8" in fails(capfd, *command, "--inputs", "int8")
    savedmodel = ["--format", "savedmodel", "--calibration", str(faces)]
    assert "'int8' is for format='tflite'" in fails(capfd, *int8, *savedmodel)
    onnx = ["--format", "onnx", "--calibration", str(faces)]
    for option in (["--inputs", "int8"], ["--integer-only"], ["--max-latency-ratio", "1"]):
        assert "requires `format` (--format) tflite" in fails(capfd, *int8, *onnx, *option)
    int4 = [*command, "--precision", "int4-weights"]
    assert "'int4-weights' is for format='tflite'" in fails(capfd, *int4, "--format", "onnx")
    assert "`precision` (--precision) int8" in fails(capfd, *int4, "--calibration", str(faces))
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(33):
        Image.new("RGB", (300, 200)).save(photos / f"{index}.png")
    error = fails(capfd, *int8, "--calibration", str(photos))
    assert "aligned faces of 112x112" in error
    assert "of 200x300" in error
    (photos / "0.png").write_bytes(b"<html>")
    assert "only readable images" in fails(capfd, *int8, "--calibration", str(photos))
    assert not out.exists()


def test_embed(faces, tflite, tmp_path, capfd):
    (tmp_path / "text.jpg").write_text("text")
    out = tmp_path / "e.npz"
    arguments = ["embed", str(faces), str(tmp_path / "text.jpg"), "--model", str(tflite)]
    arguments.append("--aligned")
    assert main([*arguments, "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
    assert "text.jpg: not an image" in capfd.readouterr().out
    with np.load(out) as stored:
        assert stored["embedding"].shape == (16, 16)
        assert stored["path"][0].endswith("p0/0.png")
        assert stored["group"].shape == (16,)
        np.testing.assert_allclose(np.linalg.norm(stored["embedding"], axis=1), 1, rtol=1e-5)
    assert results(tmp_path / "r.json")["skipped"] == 1
    assert "must end in .npz" in fails(capfd, *arguments, "--out", "e.csv")
    only_bad = ["embed", str(tmp_path / "text.jpg"), "--model", str(tflite), "--out", str(out)]
    only_bad.append("--aligned")
    assert "None of the 1 images can be used" in fails(capfd, *only_bad)


def test_compare(faces, model, tmp_path, capfd):
    first, second = str(faces / "p0" / "0.png"), str(faces / "p1" / "0.png")
    base = ["compare", first, first, "--model", model, "--threshold", "0.9", "--aligned"]
    assert main([*base, "--json", str(tmp_path / "r.json")]) == 0
    found = results(tmp_path / "r.json")
    assert found["cosine"] == pytest.approx(1, abs=1e-5)
    assert found["same"] is True
    assert set(found) == {
        "cosine", "group_aware_similarity", "groups", "similarity", "same", "decision",
    }  # fmt: skip
    assert found["decision"]["origin"] == "given by the user"
    base = ["compare", first, second, "--model", model, "--aligned"]
    assert main([*base, "--picture", str(tmp_path / "both.png")]) == 0
    assert "No decision, because there is no threshold" in capfd.readouterr().out
    with Image.open(tmp_path / "both.png") as picture:
        assert picture.width > 800
    wrong = ["compare", first, "none.png", "--model", model, "--aligned"]
    assert "no such file" in fails(capfd, *wrong)


def test_bench(tflite, tmp_path, capfd):
    tflite = Path(shutil.copy(tflite, tmp_path))
    arguments = ["bench", str(tflite), "--threads", "1,2", "--repeats", "3", "--batch-size", "2"]
    assert main([*arguments, "--json", str(tmp_path / "r.json"), "--record"]) == 0
    found = results(tmp_path / "r.json")
    card = results(tmp_path / f"{tflite.name}.json")
    for entry, each in zip(card["measured"], found["threads"], strict=True):
        assert entry["kind"] == "latency"
        assert entry["of"]["threads"] == each["threads"]
        assert entry["latency_ms_p95"] == each["latency_ms_p95"]
    assert found["size_bytes"] == tflite.stat().st_size
    assert 0 < found["latency_ms_median"] <= found["latency_ms_p95"]
    assert found["images_per_second"] > 0
    assert found["peak_memory_bytes"] > 0
    assert [each["threads"] for each in found["threads"]] == [1, 2]
    printed = capfd.readouterr()
    for operator in found["operators"]:
        assert operator["name"] in printed.out
    # GATHER takes the weights of the chosen group.
    assert "warning: XNNPACK does not run 2 × GATHER (float32)" in printed.err
    assert "`threads` must be whole numbers of at least 1" in fails(
        capfd, "bench", str(tflite), "--threads", "1,zero"
    )


def test_zoo_list_and_show(tmp_path, capsys):
    assert main(["zoo", "list", "--json", str(tmp_path / "r.json")]) == 0
    names = [preset["name"] for preset in results(tmp_path / "r.json")["presets"]]
    printed = capsys.readouterr().out
    for name in names:
        assert name in printed
        assert main(["zoo", "show", name, "--json", str(tmp_path / "s.json")]) == 0
        shown = capsys.readouterr().out
        described = results(tmp_path / "s.json")
        assert described["weights"]["sha256"][:40] in shown
        assert described["licence"]["name"] in " ".join(shown.split())


def test_the_preset_brings_its_thresholds(faces, tmp_path, capsys):
    a, b = sorted(faces.rglob("*.png"))[:2]
    arguments = ["compare", str(a), str(b), "--aligned", "--json", str(tmp_path / "r.json")]
    assert main([*arguments, "--far", "1e-2"]) == 0
    decision = results(tmp_path / "r.json")["decision"]
    assert decision["far"] == 1e-2
    assert DEFAULT_PRESET in decision["origin"]
    # A threshold from the user works for a preset without thresholds too.
    assert main([*arguments, "--threshold", "0.5"]) == 0
    assert results(tmp_path / "r.json")["decision"]["origin"] == "given by the user"
    assert main([*arguments, "--far", "1e-9"]) == 2
    assert "`far` must be one of" in capsys.readouterr().err


@pytest.mark.slow
def test_demo(tmp_path):
    arguments = [
        "demo", "--out", str(tmp_path / "demo"), "--people", "8", "--faces", "4", "--holdout", "3",
        "--set", "training.epochs=1", "--set", "training.batch_size=8",
        "--set", "data.min_images=2",
    ]  # fmt: skip
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "gfkeras", *arguments],
            check=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
    found = results(tmp_path / "demo" / "report.json")
    assert len(found["exports"]) == 4
    assert all(export["passed"] for export in found["exports"])
    assert {"accuracy", "untrained", "training", "seconds"} <= set(found)
    assert "<html" in (tmp_path / "demo" / "report.html").read_text()[:500]
