"""Training of a model as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
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
    verbose: str | int = 0,
) -> TrainingResult:
    """Trains a model as a recipe says.

    Args:
        recipe: a TOML file, or the name of a built-in recipe.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: the folder of the run: models, logs, summary.
        settings: changes of the recipe, such as "training.epochs=3".
        identities: a text file with the people to take, one name a line; all by default.
        images: a text file with the images to take of a folder of people; all by default.
        resume: continue from the last checkpoint in `out`.
        verbose: of `keras.Model.fit`: 0, 1 or 2.

    Raises:
        ValueError: for an unknown recipe or setting, and data that is missing or does not fit.

    Example:
        train("orl", "orl_faces", "runs/orl", settings=["training.epochs=3"]).metrics
    """
    from gfkeras import training

    checked = training.Recipe.read(recipe, list(settings))
    faces = training_faces(data, identities, images, checked.data.min_images)
    load_keras()
    return training.train(checked, faces, out, resume=resume, verbose=verbose)


def training_faces(
    data: PathLike, identities: PathLike | None, images: PathLike | None, min_images: int
) -> FaceFolder | RecordSet:
    """Returns the faces to train on, undecoded; `data`, `identities` and `images` as of `train`.

    People with fewer than `min_images` are left out of a folder.
    """
    if not (Path(data) / MANIFEST_FILE).is_file():
        return FaceFolder(data, identities, min_images, images)
    if images is not None:
        raise ValueError(
            "`images` (--images) chooses files of a folder with one folder per person. "
            f"Received: {str(data)!r}, which holds records"
        )
    records = RecordSet(data)
    return records if identities is None else records.select(read_names(identities))
