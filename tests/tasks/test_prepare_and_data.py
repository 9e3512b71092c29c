"""`gfkeras.tasks.prepare` and `gfkeras.tasks.data` in Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from blocking import WITHOUT_KERAS
from data_sets import EACH, PEOPLE, write_people

from gfkeras.tasks import data
from gfkeras.tasks.prepare import prepare


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"))


def test_from_photos_to_records_and_back(people, tmp_path):
    stages = []
    made = prepare(
        people, tmp_path / "records", holdout=2, workers=1, shard_size=8,
        progress=lambda stage, done, total: stages.append(stage),
    )  # fmt: skip
    assert (made.images, made.heldout_identities) == (PEOPLE * EACH, 2)
    assert made.to_json()["shards"] == made.shards
    assert {"convert", "write"} <= set(stages)
    assert data.check(made.out).to_json() == {"splits": ["train", "heldout"], "whole": True}
    counted = data.stats(made.out, split="heldout", sheet=tmp_path / "sheet.png")
    assert counted.statistics.images == counted.to_json()["images"] == 2 * EACH
    assert counted.sheet.is_file()
    assert "near_duplicates" not in counted.to_json()
    extracted = data.extract(made.out, tmp_path / "files", split="heldout")
    nothing = {"skipped": 0, "skipped_files": [], "skipped_reasons": {}}
    assert extracted.to_json() == {"images": 2 * EACH, **nothing}


def test_suspects(people, tmp_path):
    paths = sorted(map(str, people.glob("*/*")))
    embedding = np.eye(len(paths))
    embedding[1] = embedding[0]
    np.savez(tmp_path / "e.npz", embedding=embedding, path=np.array(paths))
    found = data.stats(people, embeddings=tmp_path / "e.npz")
    assert [pair.cosine for pair in found.suspects.near_duplicates] == [1.0]
    assert found.to_json()["near_duplicates"][0]["same_identity"]


def test_wrong_arguments(people, tmp_path):
    for arguments, message in (
        ({"source_options": {"rot": 1}}, "rot"),
        ({"format": "foldr"}, "did you mean 'folder'"),
        ({"size": (112, 96)}, "belongs to alignment"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare(people, tmp_path / "out", **arguments)
    with pytest.raises(ValueError, match=r"must end in \.png"):
        data.stats(people, sheet="a.jpg")
    assert not list(tmp_path.iterdir())


def test_without_keras(people, tmp_path):
    script = WITHOUT_KERAS + (
        "from gfkeras.tasks import data\n"
        "from gfkeras.tasks.prepare import prepare\n"
        "made = prepare(sys.argv[1], sys.argv[2], workers=1)\n"
        "data.check(made.out)\n"
        "assert data.stats(sys.argv[1]).statistics.images == made.images\n"
        "assert 'keras' not in sys.modules\n"
    )
    arguments = [str(people), str(tmp_path / "records")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120)
