"""Saving of models as folders with `config.json` and `model.weights.h5`."""

import copy
import inspect
import io
import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras.src.backend.common import global_state

from gfkeras.archives import open_archive, read_member, require_bounded
from gfkeras.errors import reading
from gfkeras.files import (
    CONFIG_FILE,
    parsed_json,
    replacing,
    require_room,
    settings_text,
    sha256,
)
from gfkeras.hdf5 import open_hdf5
from gfkeras.version import __version__

WEIGHTS_FILE = "model.weights.h5"
# The files in the archive that `keras.Model.save` writes.
_MEMBERS = {"metadata.json", CONFIG_FILE, WEIGHTS_FILE}
FORMAT = 1


def init_arguments(thing: Any) -> dict[str, Any]:
    """Returns the arguments of `__init__` that an object has as attributes, as JSON values."""
    names = [name for name in inspect.signature(type(thing).__init__).parameters if name != "self"]
    values = {name: getattr(thing, name) for name in names if hasattr(thing, name)}
    serialize = keras.saving.serialize_keras_object
    # Only callable values, such as models and initializers, need Keras' serialization. Numbers,
    # names and tables do not.
    return {name: serialize(value) if callable(value) else value for name, value in values.items()}


class Configured:
    """Mixin for Keras layers and metrics: `get_config` returns every argument of `__init__`.

    List it before the Keras class among the base classes. Each argument must be an attribute with
    the same name.
    """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **init_arguments(self)}  # type: ignore[misc]


class SavableModel(keras.Model):
    """A `keras.Model` with a method `save_to`, which writes the model to a folder.

    `keras.models.clone_model` returns a plain functional model, with a warning, because Keras keeps
    only classes that are made from inputs and outputs. To copy the layers with new weights and keep
    the class, use `type(model).from_config(model.get_config())`.
    """

    def _run_through_graph(self, *args: Any, **kwargs: Any) -> Any:
        # Keras calls this method to run and to clone a functional model. For cloning, it passes a
        # function of its own.
        operation = kwargs.get("operation_fn")
        if getattr(operation, "__module__", None) == keras.models.clone_model.__module__:
            name = type(self).__name__
            warnings.warn(
                f"keras.models.clone_model returns a plain functional model, not a {name}. "
                f"To keep the class, use {name}.from_config(model.get_config())",
                stacklevel=4,
            )
        return super()._run_through_graph(*args, **kwargs)

    def save_to(self, folder: str | os.PathLike[str]) -> Path:
        """Writes architecture and weights to a folder for `gfkeras.load`. Returns the folder.

        Both files appear only when they are complete: after an interruption, the earlier model is
        still readable. Other files in the folder do not change.

        Raises:
            OSError: if the disk is full or the folder is not writable.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        require_room(folder, _file_size(self))
        with (
            replacing(folder / CONFIG_FILE) as config,
            # Keras accepts only the ending `.weights.h5`, which `replacing` keeps.
            replacing(folder / WEIGHTS_FILE) as weights,
        ):
            self.save_weights(weights)
            description = {
                "format": FORMAT,
                "gfkeras": __version__,
                "keras": keras.__version__,
                "parameters": self.count_params(),
                "weights": {
                    "file": WEIGHTS_FILE,
                    "size_bytes": weights.stat().st_size,
                    "sha256": sha256(weights),
                },
                "model": keras.saving.serialize_keras_object(self),
            }
            config.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        return folder


def _file_size(model: keras.Model) -> int:
    """Returns an upper estimate of the size of the weights file in bytes."""
    # Entries have at most 4 bytes, except for counters, which are scalars.
    values = sum(4 * math.prod(weight.shape) for weight in model.weights)
    # The tables of HDF5 take about two kilobytes per array.
    return values + 4096 * len(model.weights) + 65536


def load_model(folder: str | os.PathLike[str]) -> keras.Model:
    """Reads a model with its weights from a folder that `save_to` wrote.

    Raises:
        ValueError: if a file is missing or damaged, or if its size or SHA-256 differs from
            `config.json`.
    """
    folder = Path(folder)
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise ValueError(
            f"`folder` must be a folder that save_to wrote ({CONFIG_FILE} and {WEIGHTS_FILE}). "
            f"Received: folder={str(folder)!r}, which has no {CONFIG_FILE}"
        )
    with reading(config_path, "the description of a gfkeras model"):
        description = parsed_json(settings_text(config_path))
        weights, version = description["weights"], description["format"]
        weights_path = folder / Path(weights["file"]).name
        expected_size, expected_hash = weights["size_bytes"], weights["sha256"]
        config = description["model"]
    if version != FORMAT:
        raise ValueError(
            f"{config_path} has format {version!r}, but gfkeras {__version__} reads format {FORMAT}"
        )
    if not weights_path.is_file():
        raise ValueError(f"{weights_path} is missing")
    size = weights_path.stat().st_size
    if size != expected_size:
        raise ValueError(
            f"{weights_path} is truncated or damaged: {size} bytes, expected {expected_size}"
        )
    if (digest := sha256(weights_path)) != expected_hash:
        raise ValueError(
            f"{weights_path} is damaged: its SHA-256 is {digest}, expected {expected_hash}"
        )
    check_weights(weights_path)

    def build() -> Any:
        # Keras changes the description while it reads it, and it is read twice.
        return keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)

    with reading(config_path, "the description of a gfkeras model", anything=True):
        require_fitting(build, weights_path)
        model = build()
    with reading(weights_path, f"the weights of the model in {CONFIG_FILE}", anything=True):
        model.load_weights(weights_path)
    return model


def check_weights(path: Path) -> None:
    """Raises ValueError if a `.h5` or `.keras` file from an unknown source is not safe to open.

    Unsafe files refer to other files or promise too many bytes. Check a file before Keras reads it.
    """
    if path.suffix != ".keras":
        with reading(path, "an HDF5 file"), open_hdf5(path):
            return
    with reading(path, "a Keras file"), open_archive(path) as archive:
        if extra := set(archive.namelist()) - _MEMBERS:
            raise ValueError(
                f"{path} is refused: a model must have only the members "
                f"{', '.join(sorted(_MEMBERS))}. Received: {min(extra)!r} too"
            )
        contents = {name: read_member(archive, name) for name in _MEMBERS}
        with open_hdf5(path, io.BytesIO(contents[WEIGHTS_FILE])):
            return


def require_fitting(build: Callable[[], Any], path: Path) -> None:
    """Raises ValueError if `build` does not return a model, or one too large for the file `path`.

    A description of a few bytes can ask for layers of any size. Here the layers are built without
    memory for their weights.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            made = build()
    finally:
        # Keras would initialize the variables in this list when it next leaves such a scope.
        global_state.set_global_attribute("uninitialized_variables", [])
    if not isinstance(made, keras.Model):
        raise ValueError(f"it describes {type(made).__name__} instead of a model")
    numbers = sum(math.prod(variable.shape) for variable in made.variables)
    require_bounded(path, 4 * numbers, path.stat().st_size)
