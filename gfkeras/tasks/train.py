"""Training of a model with a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder, RecordSet
from gfkeras.data.folder import read_names
from gfkeras.data.records.manifest import MANIFEST_FILE
from gfkeras.files import PathLike

if TYPE_CHECKING:
    from gfkeras.training import TrainingResult


def train(
    recipe: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    settings: Sequence[str] = (),
    identities: PathLike | None = None,
    images: PathLike | None = None,
    resume: bool = False,
    stage: str | None = None,
    verbose: str | int = 0,
    on_stage: Callable[[str, int, int], None] | None = None,
) -> TrainingResult:
    """Trains a model with a recipe.

    Args:
        recipe: a TOML file, or the name of a built-in recipe.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: folder for the run: models, logs and summary.
        settings: changes of the recipe, such as "training.epochs=3".
        identities: text file with the people to use, one name per line. By default, all people.
        images: text file with the images to use from a folder per person. By default, all images.
        resume: continue from the last checkpoint in `out`.
        stage: train only this stage of a recipe with stages.
        verbose: 0, 1 or 2, as for `keras.Model.fit`.
        on_stage: called with the name, the number (from 1) and the count of stages at each start.

    Raises:
        ValueError: if the recipe or a setting is unknown, or if data is missing or does not fit.

    Example:
        train("orl", "orl_faces", "runs/orl", settings=["training.epochs=3"]).metrics
    """
    # Recipe and data are checked before Keras is loaded, which takes seconds.
    from gfkeras import training

    checked = training.Recipe.read(recipe, list(settings))
    if stage is not None:
        from gfkeras.training.stages import one_stage

        checked = one_stage(checked, stage)
    faces = training_faces(data, identities, images, checked.data.min_images)
    load_keras()
    return training.train(checked, faces, out, resume=resume, verbose=verbose, on_stage=on_stage)


def training_faces(
    data: PathLike, identities: PathLike | None, images: PathLike | None, min_images: int
) -> FaceFolder | RecordSet:
    """Returns the faces to train on, still encoded.

    `data`, `identities` and `images` are the arguments of `train`. People with fewer than
    `min_images` images are left out of a folder. Records were already filtered by `prepare`.
    """
    if not (Path(data) / MANIFEST_FILE).is_file():
        return FaceFolder(data, identities, min_images, images)
    if images is not None:
        raise ValueError(
            "`images` (--images) requires `data` with one folder per person. "
            f"Received: data={str(data)!r}, a folder of records"
        )
    records = RecordSet(data)
    return records if identities is None else records.select(read_names(identities))
