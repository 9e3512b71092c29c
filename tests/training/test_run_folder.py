"""Locking of a run's folder, and its state after a run that was ended in the middle."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import keras
import pytest
from processes import start_python

from gfkeras.training import Recipe, train
from gfkeras.training.run_folder import only_training
from gfkeras.training.step_checkpoints import StepCheckpoints

HOLDER = """
import sys, time
from pathlib import Path
from gfkeras.training.run_folder import only_training
with only_training(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    tiny_recipe["training"] = {"epochs": 2, "batch_size": 8}
    return Recipe.parse(tiny_recipe)


def test_another_training_has_the_folder(tmp_path, tiny_faces, recipe):
    out = tmp_path / "runs" / "one"
    with only_training(out):
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"`out` is being written.*Received: out='.*one'"):
                train(recipe, tiny_faces, out, resume=resume, verbose=0)
    # Nothing was written, so the folder is removed.
    assert not out.parent.exists()


def test_a_killed_training_blocks_nobody(tmp_path):
    out = tmp_path / "run"
    holder = start_python(HOLDER, str(out))
    holder.lines_until(lambda lines: "held" in lines)
    with pytest.raises(ValueError, match="`out` is being written"), only_training(out):
        raise AssertionError
    holder.kill()
    with only_training(out):
        assert out.is_dir()
    # The killed process created the folder, so it stays.
    assert not list(out.iterdir())


def test_a_folder_that_was_there_stays(tmp_path):
    with only_training(tmp_path):
        pass
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), only_training(tmp_path / "file" / "run"):
        raise AssertionError


def test_two_at_once_in_threads_of_one_process(tmp_path, tiny_faces, recipe, pooled):
    out = tmp_path / "run"

    class Second(keras.callbacks.Callback):
        """Another training that is started in the meantime."""

        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match="`out` is being written"):
                train(recipe, tiny_faces, out, resume=True, verbose=0)

    assert train(recipe, tiny_faces, out, verbose=0, callbacks=[Second()]).epochs == 2
    assert not (out / ".train.lock").exists()
    with pytest.raises(ValueError, match="already holds a run"):
        train(recipe, tiny_faces, out, verbose=0)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("at", [3, 6])
def test_a_run_resumes_after_sigterm(tmp_path, tiny_faces, recipe, pooled, at, monkeypatch):
    """The run ends while a file is renamed. The file before it is complete."""
    out, renamed, rename = tmp_path / "run", [], Path.replace

    def terminated(number, frame):
        raise KeyboardInterrupt

    def counting(path: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == at:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        return rename(path, target)

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", counting)
            with pytest.raises(KeyboardInterrupt):
                train(recipe, tiny_faces, out, verbose=0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(renamed) == at
    found, notes = StepCheckpoints(out / "checkpoints").load()
    assert notes == []
    resumed = train(recipe, tiny_faces, out, resume=True, verbose=0)
    assert resumed.epochs == 2
    assert resumed.notes == [] or found is None
