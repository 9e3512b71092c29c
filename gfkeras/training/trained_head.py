"""The class centers that a run ended with: its model's folder does not hold them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from gfkeras.layers.rows import holds_nothing
from gfkeras.training.build import build_classifier
from gfkeras.training.recipe import Recipe
from gfkeras.training.run_folder import CHECKPOINTS, RECIPE_FILE
from gfkeras.training.step_checkpoints import StepCheckpoints


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedHead:
    """What a margin head learned.

    Attributes:
        identities: the name of each class.
        centers: (N, D) float32, or (N, K, D) with K centers a class; as trained, not unit rows.
        step: of the checkpoint that it comes from.
    """

    identities: list[str]
    centers: np.ndarray
    step: int

    @classmethod
    def of_run(cls, run: str | os.PathLike[str]) -> TrainedHead:
        """Reads it from the newest checkpoint of a run that `gfkeras train` made.

        The classifier of the run's recipe is built to find the centers among the variables, so
        that a model that the recipe starts from or learns from must still be there.

        Raises:
            ValueError: for a folder that is no run, was trained without a head, or has no
                checkpoint that is whole and of this recipe.
        """
        run = Path(run)
        if not (run / RECIPE_FILE).is_file() or not (run / "identities.txt").is_file():
            raise ValueError(
                f"`run` must be the --out of `gfkeras train` ({RECIPE_FILE}, identities.txt). "
                f"Received: {str(run)!r}"
            )
        recipe = Recipe.read(run / RECIPE_FILE)
        names = (run / "identities.txt").read_text(encoding="utf-8").splitlines()
        checkpoint, _ = StepCheckpoints(run / CHECKPOINTS).load()
        if checkpoint is None:
            raise ValueError(f"`run` must hold checkpoints. Received: {str(run)!r}, with none")
        classifier = build_classifier(recipe, len(names), 1)
        if classifier.head is None:
            raise ValueError(
                f"`run` must have been trained with a head. Received: {str(run)!r}, without one"
            )
        # As `StepBackup` numbers them; the optimizer's follow.
        variables = [v for v in classifier.variables if not holds_nothing(v)]
        arrays = [checkpoint.arrays.get(f"{i:05d}") for i in range(len(variables))]
        if any(
            array is None or array.shape != tuple(variable.shape)
            for array, variable in zip(arrays, variables, strict=True)
        ):
            raise ValueError(f"{checkpoint.folder} does not belong to the recipe beside it")
        place = next(i for i, v in enumerate(variables) if v is classifier.head.centers)
        return cls(names, np.asarray(arrays[place], np.float32), checkpoint.step)
