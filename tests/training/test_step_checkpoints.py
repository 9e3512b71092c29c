"""Checkpoints in a folder: the ones that stay, and the ones that are refused."""

from __future__ import annotations

import json
import resource

import numpy as np
import pytest

from gfkeras.training.step_checkpoints import StepCheckpoints


@pytest.fixture
def checkpoints(tmp_path) -> StepCheckpoints:
    kept = StepCheckpoints(tmp_path / "checkpoints")
    for step in (5, 10, 15):
        arrays = {"weights": np.full((200, 100), step, np.float32), "count": np.int64(step)}
        kept.save(step, arrays, {"best": step / 2})
    return kept


def test_the_newest_two_are_kept_and_read_back(checkpoints):
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "step-000000010", "step-000000015",
    ]  # fmt: skip
    found, notes = checkpoints.load()
    assert (found.step, found.state, notes) == (15, {"best": 7.5}, [])
    np.testing.assert_array_equal(found.arrays["weights"], np.full((200, 100), 15, np.float32))
    assert found.arrays["count"] == 15
    assert StepCheckpoints(checkpoints.folder / "none").load() == (None, [])


def cut(folder):
    path = folder / "variables.npz"
    path.write_bytes(path.read_bytes()[:-10])


def change(folder):
    data = bytearray((folder / "variables.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "variables.npz").write_bytes(data)


def lose_arrays(folder):
    (folder / "variables.npz").unlink()


def lose_state(folder):
    (folder / "state.json").unlink()


def cut_state(folder):
    path = folder / "state.json"
    path.write_bytes(path.read_bytes()[:-5])


def change_state(folder):
    path = folder / "state.json"
    path.write_text(path.read_text().replace('"best": ', '"best": 1'))


def empty_state(folder):
    (folder / "state.json").write_text(json.dumps([]))


@pytest.mark.parametrize(
    "damage", [cut, change, lose_arrays, lose_state, cut_state, change_state, empty_state]
)
def test_a_damaged_one_is_refused_and_the_one_before_it_used(checkpoints, damage):
    newest = checkpoints.newest()
    damage(newest)
    found, (note,) = checkpoints.load()
    assert found.step == 10
    assert note.startswith(f"{newest} is damaged and was not used: ")
    damage(found.folder)
    with pytest.raises(ValueError, match=r"no checkpoint to resume from: .*15 is.*10 is"):
        checkpoints.load()


def test_no_room_leaves_the_earlier_ones(checkpoints):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        with pytest.raises(
            OSError, match=r"No space for the checkpoint of step 20 .*15, is complete"
        ):
            checkpoints.save(20, {"weights": np.ones((200, 100), np.float32)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(list(checkpoints.folder.iterdir())) == 2
    assert checkpoints.load()[0].step == 15


def test_files_of_a_killed_process_are_removed(checkpoints):
    left = checkpoints.folder / ".0123abcd.step-000000020"
    left.mkdir()
    (left / "variables.npz").write_bytes(b"half")
    other = checkpoints.folder / "notes.txt"
    other.write_text("mine")
    checkpoints.remove_unfinished()
    assert not left.exists()
    assert other.exists()
    assert checkpoints.load()[0].step == 15
