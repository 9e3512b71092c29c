"""A selection of records as a folder that shares the shards."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import RecordSet
from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.data.records.selection import write_selection


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("selection")
    rng = np.random.default_rng(0)
    for person in range(5):
        (root / "photos" / f"p{person}").mkdir(parents=True)
        for number in range(4):
            image = rng.integers(0, 256, (112, 112, 3)).astype(np.uint8)
            Image.fromarray(image).save(root / "photos" / f"p{person}" / f"{number}.png")
    options = PrepareOptions(holdout=1, shard_size=5)
    prepare(root / "photos", root / "records", options, workers=1)
    return root / "records"


def rows(records: RecordSet) -> dict[str, tuple[bytes, str]]:
    """Returns JPEG and person of each record by its name."""
    return {
        records.record(number).name: (
            records.read(number),
            records.identities[records.labels[number]],
        )
        for number in range(len(records))
    }


def test_a_selection_holds_the_same_bytes_and_no_others(folder, tmp_path):
    records = RecordSet(folder)
    assert len(records.manifest.splits["train"].shards) > 2
    keep = np.array([record % 3 != 0 for record in range(len(records))])
    keep[records.labels == 1] = False  # a person without any image left
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    out = write_selection(records, keep, tmp_path / "kept", {"why": "test"})
    chosen = RecordSet(out)
    every, found = rows(records), rows(chosen)
    expected = {records.record(i).name for i in np.flatnonzero(keep)}
    assert set(found) == expected
    assert all(found[name] == every[name] for name in expected)
    assert chosen.identities == [p for p in records.identities if p != records.identities[1]]
    assert chosen.manifest.options["selection"] == {"why": "test"}
    assert rows(RecordSet(out, "heldout")) == rows(RecordSet(folder, "heldout"))
    for split in ("train", "heldout"):
        RecordSet(out, split).verify()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_selection_of_a_selection(folder, tmp_path):
    records = RecordSet(folder).select(["p3", "p0"])
    keep = np.ones(len(records), bool)
    keep[0] = False
    chosen = RecordSet(write_selection(records, keep, tmp_path / "kept"))
    assert chosen.identities == ["p3", "p0"]
    expected = rows(records)
    del expected[records.record(0).name]
    assert rows(chosen) == expected


@pytest.mark.parametrize("refused", ["link", "symlink"])
def test_file_systems_without_links(folder, tmp_path, monkeypatch, refused):
    def refuse(*_args, **_kwargs):
        raise OSError("not here")

    monkeypatch.setattr(os, "link", refuse)
    if refused == "symlink":
        monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    records = RecordSet(folder)
    out = write_selection(records, np.ones(len(records), bool), tmp_path / "kept")
    assert rows(RecordSet(out)) == rows(records)


def test_refused_arguments(folder, tmp_path):
    records = RecordSet(folder)
    none = np.zeros(len(records), bool)
    for keep in (none, none[1:], none.astype(int)):
        with pytest.raises(ValueError, match="`keep` must be 16 bools"):
            write_selection(records, keep, tmp_path / "kept")
    with pytest.raises(ValueError, match="`out` must be a new folder"):
        write_selection(records, ~none, tmp_path)
