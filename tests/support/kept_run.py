"""The folder that `train` leaves after its first epoch, without the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfkeras.models import FaceClassifier
from gfkeras.training import Recipe
from gfkeras.training.build import build_classifier
from gfkeras.training.callbacks import KeptModels, StepBackup
from gfkeras.training.step_checkpoints import StepCheckpoints


def write_run(run: Path, recipe: Recipe, names: Sequence[str]) -> FaceClassifier:
    """Writes recipe, identities, models and a checkpoint, and returns their objects."""
    classifier = build_classifier(recipe, len(names), 2)
    classifier.optimizer.build(classifier.trainable_variables)
    checkpoints = StepCheckpoints(run / "checkpoints")
    kept_models = KeptModels(run, "loss", checkpoints)
    backup = StepBackup(
        checkpoints, every_steps=9, steps_per_epoch=2, batch_size=8, images=16,
        kept_models=kept_models,
    )  # fmt: skip
    for callback in (kept_models, backup):
        callback.set_model(classifier)
        callback.on_epoch_end(0, {"loss": 1.0})
    recipe.write(run / "recipe.toml")
    (run / "identities.txt").write_text("".join(f"{name}\n" for name in names))
    return classifier
