"""The classifier of a run, from its checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from gfkeras.training import Recipe, load_classifier
from gfkeras.training.build import build_classifier
from gfkeras.training.callbacks import KeptModels, StepBackup
from gfkeras.training.step_checkpoints import StepCheckpoints

NAMES = [f"person {i}" for i in range(6)]


@pytest.fixture
def kept(tmp_path, tiny_recipe):
    """A run's folder after its first epoch, and the centers that it had."""
    # A loss with centers of the same shape, which are not the head's.
    tiny_recipe["loss"].append({"name": "CenterLoss"})
    recipe = Recipe.parse(tiny_recipe)
    classifier = build_classifier(recipe, len(NAMES), 2)
    classifier.optimizer.build(classifier.trainable_variables)
    run = tmp_path / "run"
    checkpoints = StepCheckpoints(run / "checkpoints")
    backup = StepBackup(
        checkpoints, every_steps=9, steps_per_epoch=2, batch_size=8, images=16,
        kept_models=KeptModels(run, "loss", checkpoints),
    )  # fmt: skip
    backup.set_model(classifier)
    backup.on_epoch_end(0)
    recipe.write(run / "recipe.toml")
    (run / "identities.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return run, np.asarray(classifier.head.centers)


def test_the_head_is_as_it_was(kept):
    run, centers = kept
    classifier, identities = load_classifier(run)
    assert identities == NAMES
    np.testing.assert_array_equal(np.asarray(classifier.head.centers), centers)
    assert np.abs(centers).max() > 0


def test_folders_that_are_no_such_run_are_named(kept, tmp_path):
    run, _ = kept
    with pytest.raises(ValueError, match="`run` must be the folder of a run"):
        load_classifier(tmp_path)
    (run / "identities.txt").write_text("one fewer\n" * 5)
    with pytest.raises(ValueError, match="belongs to another model"):
        load_classifier(run)
    (run / "checkpoints").rename(run / "elsewhere")
    with pytest.raises(ValueError, match="`run` must hold a checkpoint"):
        load_classifier(run)
