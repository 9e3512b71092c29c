"""Resuming after a run ended in any way: the same weights, or one line that says why not."""

from __future__ import annotations

import random
import resource
import shutil
import time

import keras
import numpy as np
import pytest
from interrupted_runs import SCRIPT, arrays_of, assert_same_run, stopped
from processes import run_python, start_python

from gfkeras.training import Recipe, train
from gfkeras.training.step_checkpoints import StepCheckpoints

STEPS = 6


@pytest.fixture(scope="module")
def recipe(recipe_tables):
    """Three epochs of two steps with dropout and a moving average. Each step has a checkpoint."""
    return Recipe.parse(
        recipe_tables,
        ["training.checkpoint_steps=1", "training.patience=9", "evaluation.pairs=12"],
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_faces, recipe):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    train(recipe, tiny_faces, out, verbose=0)
    return out


class CountSteps(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_stopped_within_an_epoch_resumes_to_the_bit(
    steps, tmp_path, tiny_faces, recipe, undisturbed
):
    stopped(recipe, tiny_faces, tmp_path / "run", steps)
    # Random numbers that were drawn before must not matter.
    keras.utils.set_random_seed(99)
    result = train(recipe, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    assert result.epochs == 3
    assert_same_run(tmp_path / "run", undisturbed)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


@pytest.fixture(scope="module")
def killed(tmp_path_factory, recipe):
    """The folder of a run that was killed within an epoch, after three of six steps."""
    folder = tmp_path_factory.mktemp("killed")
    recipe.write(folder / "recipe.toml")
    arguments = (str(folder / "run"), "3", "new", str(folder / "recipe.toml"))
    assert start_python(SCRIPT, *arguments, forked=True).wait()[0] == -9
    assert not (folder / "run" / "summary.json").exists()
    return folder / "run"


@pytest.fixture
def copied(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


# The test of a damaged checkpoint resumes such a run too, but from an earlier step.
@pytest.mark.slow
def test_a_killed_process_resumes_to_the_bit(copied, tiny_faces, recipe, undisturbed):
    # The run is resumed in this process, and the other run was in another process.
    counted = CountSteps()
    train(recipe, tiny_faces, copied, resume=True, verbose=0, callbacks=[counted])
    assert counted.steps == STEPS - 3
    assert_same_run(copied, undisturbed)


@pytest.mark.slow
def test_killed_at_any_moment_thirty_times(tmp_path, recipe):
    recipe.write(tmp_path / "recipe.toml")
    arguments = (SCRIPT, str(tmp_path / "run"), "0", "resume", str(tmp_path / "recipe.toml"))
    rng = random.Random(0)
    for _ in range(30):
        process = start_python(*arguments)
        time.sleep(rng.uniform(4, 16))
        process.kill()
        if (tmp_path / "run" / "summary.json").exists():
            shutil.rmtree(tmp_path / "run")
    run_python(*arguments)
    run_python(SCRIPT, str(tmp_path / "whole"), "0", "new", str(tmp_path / "recipe.toml"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert not [path for path in (tmp_path / "run" / "checkpoints").iterdir() if "." in path.name]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    copied, tiny_faces, recipe, undisturbed
):
    older, newer = sorted((copied / "checkpoints").iterdir())
    arrays = newer / "variables.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1000])
    # Random numbers that were drawn before must not matter.
    keras.utils.set_random_seed(99)
    result = train(recipe, tiny_faces, copied, resume=True, verbose=0)
    (damaged, resumed) = (note for note in result.notes if "step-" in note)
    assert str(newer) in damaged
    assert "cut short" in damaged
    assert str(older) in resumed
    assert_same_run(copied, undisturbed)


@pytest.mark.parametrize(
    ("done", "what"),
    [
        pytest.param(2, "the checkpoint of step 3", marks=pytest.mark.slow),
        (3, "the model of epoch 2"),
    ],
)
def test_no_room_on_the_disk(done, what, tmp_path, tiny_faces, recipe):
    class NoRoom(keras.callbacks.Callback):
        """Limits the size of files to 100 kB, like a full disk."""

        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == done:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            OSError, match=rf"No space for {what} .*step-00000000{done}, is complete"
        ):
            train(recipe, tiny_faces, tmp_path / "run", verbose=0, callbacks=[NoRoom()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == [f"step-00000000{done - 1}", f"step-00000000{done}"]
    found, notes = StepCheckpoints(tmp_path / "run" / "checkpoints").load()
    assert (found.step, notes) == (done, [])


def test_changes_that_do_not_fit_the_checkpoint_are_named(copied, tiny_faces, recipe):
    tables = recipe.model_dump(exclude_none=True)
    # Within an epoch, the position in the data depends on these values.
    smaller = Recipe.parse(tables, ["training.batch_size=4"])
    with pytest.raises(ValueError, match=r"with the same batch_size, 8\. Received: 4"):
        train(smaller, tiny_faces, copied, resume=True, verbose=0)
    wider = Recipe.parse(tables, ["model.backbone.width=0.125"])
    with pytest.raises(ValueError, match=r"another \[model\]"):
        train(wider, tiny_faces, copied, resume=True, verbose=0)


@pytest.mark.slow
def test_a_run_that_patience_ended_is_done(tmp_path, tiny_faces, recipe_tables):
    recipe_tables = recipe_tables | {"data": {}}
    recipe = Recipe.parse(
        recipe_tables, ["training.patience=1", "training.epochs=9", "optimizer.learning_rate=1e-30"]
    )
    first = train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    assert first.epochs < 9
    again = train(recipe, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    assert again.epochs == first.epochs
    assert "were ended early: nothing to resume" in again.notes[-1]


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, tiny_faces, recipe, pooled):
    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 3:
                self.model.head.centers.assign(self.model.head.centers * float("nan"))

    with pytest.raises(ValueError, match=r"epoch 2, step 4, at learning rate .*step-000000003"):
        train(recipe, tiny_faces, tmp_path / "run", verbose=0, callbacks=[Poison()])
    # The checkpoint is finite.
    assert all(np.isfinite(value).all() for value in arrays_of(tmp_path / "run").values())
