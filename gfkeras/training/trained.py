"""A run's classifier as its last checkpoint left it, with the head that `last/` leaves out."""

from __future__ import annotations

import os
from pathlib import Path

from gfkeras.models import FaceClassifier
from gfkeras.training import run_folder
from gfkeras.training.build import build_classifier
from gfkeras.training.callbacks.step_backup import restore_variables
from gfkeras.training.dtype_scope import dtype_policy
from gfkeras.training.recipe import Recipe
from gfkeras.training.step_checkpoints import StepCheckpoints


def load_classifier(run: str | os.PathLike[str]) -> tuple[FaceClassifier, list[str]]:
    """Model, head and losses of a run of `train`, from its last whole checkpoint.

    Args:
        run: the folder of the run.

    Returns:
        The classifier, and the identities that its head has centers of.

    Raises:
        ValueError: if the folder holds no run or no whole checkpoint, or the checkpoint is of
            another recipe.
    """
    run = Path(run)
    recipe_file, names = run / run_folder.RECIPE_FILE, run / run_folder.IDENTITIES_FILE
    for path in (recipe_file, names):
        if not path.is_file():
            raise ValueError(
                "`run` must be the folder of a run of `gfkeras train`. "
                f"Received: run={str(run)!r}, which has no {path.name}"
            )
    recipe = Recipe.read(recipe_file)
    identities = names.read_text(encoding="utf-8").splitlines()
    checkpoint, _ = StepCheckpoints(run / run_folder.CHECKPOINTS).load()
    if checkpoint is None:
        raise ValueError(
            f"`run` must hold a checkpoint, which is written after each epoch. "
            f"Received: run={str(run)!r}, which has none in {run_folder.CHECKPOINTS}/"
        )
    with dtype_policy(recipe.dtype_policy):
        # How long an epoch is only sets the learning rate.
        classifier = build_classifier(recipe, len(identities), steps_per_epoch=1)
        if not classifier.optimizer.built:
            classifier.optimizer.build(classifier.trainable_variables)
    restore_variables(classifier, checkpoint)
    return classifier, identities
