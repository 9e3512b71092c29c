"""Cleaning of training data: sub-centers find images with a wrong name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.backend import load_keras
from gfkeras.errors import wrong
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
    """Finds images with a wrong name, and lists the other images for training.

    Trains with several centers per person, finds each person's dominant center and drops the
    images far from it. Writes a report, contact sheets and a cleaned list of images (or records)
    for `train` into `out`. No photo is changed or deleted.

    Args:
        source: a recipe with ArcFace or SubCenterArcFace (a TOML file or the name of a built-in
            recipe), or the folder of a run with SubCenterArcFace.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: the folder for runs, report and cleaned data.
        angle: drop images at this angle to the dominant center, in degrees, or more. "auto" finds
            the angle between the two peaks of the distribution, or uses 75 if there is only one.
        sub_centers: centers per identity. By default, as in the recipe, or 3.
        retrain: then train on the remaining images with one center.
        settings, identities, images, verbose: as for `gfkeras.tasks.train.train`.
        resume: continue an unfinished run in `out`.
        progress: called with (stage, images done, number of images).

    Raises:
        ValueError: if recipe, run and data do not fit together, or if `out` would overwrite the
            list in `images`.

    Example:
        result = clean("orl_arcface", "photos", "runs/clean", angle="auto")
        result.dropped
    """
    from gfkeras.training import Recipe
    from gfkeras.training.run_folder import RECIPE_FILE

    # A run folder has the recipe that it was trained with.
    recipe: Recipe | str = str(source)
    run_recipe = Path(source) / RECIPE_FILE
    if run_recipe.is_file():
        if settings:
            raise ValueError(
                "`settings` (--set) can only change a recipe, not the one of a finished run. "
                f"Received: source={str(source)!r}"
            )
        min_images = Recipe.read(run_recipe).data.min_images
    else:
        recipe = Recipe.read(source, list(settings))
        min_images = recipe.data.min_images
    # Read the faces before Keras is loaded: errors in the data appear sooner.
    faces = training_faces(data, identities, images, min_images)
    load_keras()
    from gfkeras.experiments import cleaning
    from gfkeras.experiments.cleaning.result import LIST_FILE

    if images is not None and Path(images).resolve() == (Path(out) / LIST_FILE).resolve():
        expected = f"not be the folder of `images` (--images): its {LIST_FILE} would be overwritten"
        raise wrong("out (--out)", expected, f"images={str(images)!r}")
    return cleaning.clean(
        recipe, faces, out, angle=angle, sub_centers=sub_centers, retrain=retrain, resume=resume,
        verbose=verbose, progress=progress,
    )  # fmt: skip
