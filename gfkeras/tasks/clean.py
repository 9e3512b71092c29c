"""Cleaning of training data: images under a wrong name, found by sub-centers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.backend import load_keras
from gfkeras.files import PathLike
from gfkeras.tasks.reporting import Progress
from gfkeras.tasks.train import training_faces

if TYPE_CHECKING:
    from gfkeras.experiments.cleaning import CleaningResult
    from gfkeras.training import Recipe


def clean(
    source: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    angle: float | str = 75.0,
    sub_centers: int | None = None,
    retrain: bool = False,
    settings: Sequence[str] = (),
    identities: PathLike | None = None,
    images: PathLike | None = None,
    resume: bool = False,
    verbose: str | int = 0,
    progress: Progress | None = None,
) -> CleaningResult:
    """Finds images under a wrong name, and lists the others to train on.

    Trains with several centers for each person, finds the dominant one and drops the images far
    from it. `out` gets a report, contact sheets and a cleaned list or records for `train`. No
    photo is changed or deleted.

    Args:
        source: a recipe with ArcFace or SubCenterArcFace (a TOML file or a built-in name), or the
            folder of a run with SubCenterArcFace.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: the folder for runs, report and cleaned data.
        angle: drop images at this many degrees or more from the dominant center; "auto" cuts
            between the two heaps of angles, at 75 where there is one.
        sub_centers: centers for each identity; the recipe's, or 3.
        retrain: train with one center on what is kept.
        settings, identities, images, verbose: as of `gfkeras.tasks.train.train`.
        resume: continue what stands in `out`.
        progress: called with (what, images done, images) while images are measured.

    Raises:
        ValueError: for a recipe, run or data that do not fit, and an `out` that would lose files.

    Example:
        result = clean("orl_arcface", "photos", "runs/clean", angle="auto")
        result.dropped
    """
    from gfkeras.training import Recipe
    from gfkeras.training.run_folder import RECIPE_FILE

    recipe: Recipe | str = str(source)
    run_recipe = Path(source) / RECIPE_FILE
    if run_recipe.is_file():
        if settings:
            raise ValueError(
                f"`settings` (--set) are for a recipe; {str(source)!r} is a run, which has its own"
            )
        min_images = Recipe.read(run_recipe).data.min_images
    else:
        recipe = Recipe.read(source, list(settings))
        min_images = recipe.data.min_images
    faces = training_faces(data, identities, images, min_images)
    load_keras()
    from gfkeras.experiments import cleaning
    from gfkeras.experiments.cleaning.manifest import LIST_FILE

    if images is not None and Path(images).resolve() == (Path(out) / LIST_FILE).resolve():
        raise ValueError(
            "`out` (--out) must be another folder than that of `images` (--images), whose "
            f"{LIST_FILE} would be replaced by a shorter one. Received: {str(images)!r}"
        )
    return cleaning.clean(
        recipe, faces, out, angle=angle, sub_centers=sub_centers, retrain=retrain, resume=resume,
        verbose=verbose, progress=progress,
    )  # fmt: skip
