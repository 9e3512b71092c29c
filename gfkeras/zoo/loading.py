"""From a preset's name or a folder to a model."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from gfkeras.errors import unknown_name
from gfkeras.saving import load_model
from gfkeras.zoo.registry import preset_names, zoo_folder


def load(name_or_folder: str | os.PathLike[str]) -> keras.Model:
    """A model with its weights.

    Args:
        name_or_folder: the name of a preset (`gfkeras zoo list`), or a folder that
            `model.save_to` wrote.

    Returns:
        A `keras.Model`: a `GroupFace` or a backbone.

    Raises:
        ValueError: if there is no such folder or preset, naming the nearest preset,
            or if the folder's files are damaged.

    Example:
        >>> model = gfkeras.load("runs/first/best")
    """
    if Path(name_or_folder).is_dir():
        return load_model(name_or_folder)
    names = preset_names()
    if str(name_or_folder) in names:
        return load_model(zoo_folder() / str(name_or_folder))
    if names:
        raise unknown_name("model folder or preset", str(name_or_folder), names)
    raise ValueError(
        "`name_or_folder` must be a folder that save_to wrote (this version ships no presets). "
        f"Received: {str(name_or_folder)!r}, which is no folder"
    )
