"""Stages of a recipe: their folders, and what is checked before the first one."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from gfkeras.data import Faces, RecordSet
from gfkeras.errors import by_name
from gfkeras.training.build import build_uncompiled, dtype_policy
from gfkeras.training.offline_mining import build_mining
from gfkeras.training.recipe import Recipe
from gfkeras.training.run_folder import STAGES, SUMMARY_FILE, changes, check_folder
from gfkeras.training.starting import require_fitting
from gfkeras.training.training_data import build_batches, require_size


def stage_runs(recipe: Recipe, out: Path) -> list[tuple[Path, Recipe]]:
    """Returns the folder and the recipe of each stage. The last one has the folder of the run.

    Each stage starts from the one before it, unless its own table has an `init`.
    """
    runs: list[tuple[Path, Recipe]] = []
    stages = recipe.in_stages() or {"": recipe}
    for name, stage in stages.items():
        if runs and stage.model.init == recipe.model.init:
            stage = stage.starting_from(runs[-1][0])
        runs.append((out / STAGES / name if len(runs) < len(stages) - 1 else out, stage))
    return runs


def one_stage(recipe: Recipe, name: str) -> Recipe:
    """Returns the recipe of a stage, to train it alone.

    Raises:
        ValueError: for an unknown name, or if the stage has nothing to start from.
    """
    stages = recipe.in_stages()
    if not stages:
        raise ValueError(f"`stage` requires a recipe with a [[stage]]. Received: stage={name!r}")
    chosen = by_name("stage", name, stages)
    first = next(iter(stages))
    if name != first and chosen.model.init is None:
        raise ValueError(
            f"`stage` {name!r} starts from another one, so `model.init` must name weights, such as "
            f"the folder of a run of {first!r}. Received: none (set it with --set model.init=RUN)"
        )
    return chosen


def check_folders(runs: Sequence[tuple[Path, Recipe]], resume: bool) -> None:
    """Checks the folder of each stage, the last one first (see `check_folder`)."""
    for folder, recipe in reversed(runs):
        check_folder(folder, resume, recipe)


def finished_note(folder: Path, recipe: Recipe, out: Path) -> str | None:
    """Returns a note if the stage in `folder` was finished already and is not the last one."""
    if folder == out or not (folder / SUMMARY_FILE).is_file():
        return None
    changed = [key for key, _, _ in changes(folder, recipe)]
    ignored = f" Changes of its recipe have no effect: {', '.join(changed)}." if changed else ""
    return f"Stage {folder.name} was finished already.{ignored}"


def check_stages(recipe: Recipe, faces: Faces | RecordSet, whole: int, num_replicas: int) -> None:
    """Checks all stages of a recipe by building them, without memory for their weights.

    Otherwise, an error in the second stage would be found when the first one is trained.

    Args:
        recipe: a recipe with stages.
        faces: the training data of the first stage.
        whole: number of images in an epoch, see `load_faces`.
        num_replicas: number of replicas that share a batch.

    Raises:
        ValueError: as the training of each stage raises it, with the name of the stage.
    """
    before: keras.Model | None = None
    for name, stage in recipe.in_stages().items():
        try:
            before = _checked(recipe, stage, before, faces, whole, num_replicas)
        except ValueError as error:
            raise ValueError(f"stage {name!r}: {error}") from error


def _checked(
    recipe: Recipe,
    stage: Recipe,
    before: keras.Model | None,
    faces: Faces | RecordSet,
    whole: int,
    num_replicas: int,
) -> keras.Model:
    """Checks a stage behind the model of the one before. Returns the stage's model."""
    training, data = stage.training, stage.data
    batches = None
    if data.amount == recipe.data.amount:
        mining = build_mining(stage, faces, Path(), num_replicas)
        batches = build_batches(
            training, faces, None, stage.seed, num_replicas, stage.optimizer.accumulate_steps,
            None if data.amount is None else whole, mining,
        )  # fmt: skip
    # Weights that are read need memory.
    reads = stage.model.init is not None or stage.teacher is not None
    empty: Any = contextlib.nullcontext()
    if not reads:
        empty = keras.StatelessScope(initialize_variables=False)
    with dtype_policy(stage.dtype_policy), empty:
        model = build_uncompiled(stage, len(faces.identities))[0].model
    if batches is not None:
        require_size(model, batches)
    if before is not None and stage.model.init == recipe.model.init:
        require_fitting(before, stage.model)
    return model
