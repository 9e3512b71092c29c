"""Models as folders: `config.json` beside `model.weights.h5`."""

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
# The files in an archive that `keras.Model.save` writes.
_MEMBERS = {"metadata.json", CONFIG_FILE, WEIGHTS_FILE}
FORMAT = 1


def init_arguments(thing: Any) -> dict[str, Any]:
    """The arguments of `__init__` that an object holds under their names, ready for JSON."""
    names = [name for name in inspect.signature(type(thing).__init__).parameters if name != "self"]
    values = {name: getattr(thing, name) for name in names if hasattr(thing, name)}
    serialize = keras.saving.serialize_keras_object
    # Models, initializers and the like can be called; numbers, names and tables cannot.
    return {name: serialize(value) if callable(value) else value for name, value in values.items()}


class Configured:
    """Mixin of Keras layers and metrics: `get_config` holds every argument of `__init__`.

    Stands before the Keras class among the bases. Each argument is an attribute of its name.
    """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **init_arguments(self)}  # type: ignore[misc]


class SavableModel(keras.Model):
    """A `keras.Model` that can write itself into a folder with `save_to`.

    `keras.models.clone_model` makes a plain functional model of it, with a warning: Keras keeps
    only classes that are made from inputs and outputs. `type(model).from_config(
    model.get_config())` gives the same layers with new weights, and keeps the class.
    """

    def _run_through_graph(self, *args: Any, **kwargs: Any) -> Any:
        # Keras runs and clones functional models by this; only cloning brings its own function.
        operation = kwargs.get("operation_fn")
        if getattr(operation, "__module__", None) == keras.models.clone_model.__module__:
            name = type(self).__name__
            warnings.warn(
                f"keras.models.clone_model gives a plain functional model, not a {name}, which "
                f"is not made from inputs and outputs. {name}.from_config(model.get_config()) "
                "keeps the class",
                stacklevel=4,
            )
        return super()._run_through_graph(*args, **kwargs)

    def save_to(self, folder: str | os.PathLike[str]) -> Path:
        """Writes architecture and weights, to be read back by `gfkeras.load`; returns the folder.

        Both files are renamed into place when they are whole, so that an interrupted save leaves
        the earlier model readable. Other files in the folder are left alone.

        Raises:
            OSError: if there is no room for it, or it cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        require_room(folder, _file_size(self))
        with (
            replacing(folder / CONFIG_FILE) as config,
            # Keras insists on the ending `.weights.h5`.
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
    """About as large as its weights' file will be, rather more."""
    # No weight has more than 4 bytes an entry but counters, which are scalars.
    values = sum(4 * math.prod(weight.shape) for weight in model.weights)
    # HDF5's tables: some two kilobytes for each array.
    return values + 4096 * len(model.weights) + 65536


def load_model(folder: str | os.PathLike[str]) -> keras.Model:
    """Reads a model with its weights from a folder that `save_to` wrote.

    Raises:
        ValueError: if a file is missing, is not what `save_to` writes, or does not have the size
            and SHA-256 that `config.json` states.
    """
    folder = Path(folder)
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise ValueError(
            f"`folder` must hold a model saved by save_to ({CONFIG_FILE} and {WEIGHTS_FILE}). "
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
            f"{config_path} has format {version!r}, this gfkeras {__version__} reads {FORMAT}"
        )
    if not weights_path.is_file():
        raise ValueError(f"{weights_path} is missing")
    size = weights_path.stat().st_size
    if size != expected_size:
        raise ValueError(
            f"{weights_path} is truncated or not whole: {size} bytes, expected {expected_size}"
        )
    if (digest := sha256(weights_path)) != expected_hash:
        raise ValueError(
            f"{weights_path} is damaged: its SHA-256 is {digest}, expected {expected_hash}"
        )
    check_weights(weights_path)

    def build() -> Any:
        # Keras takes a description apart while it reads it.
        return keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)

    with reading(config_path, "the description of a gfkeras model", anything=True):
        require_fitting(build, weights_path)
        model = build()
    with reading(weights_path, "the weights of the model beside it", anything=True):
        model.load_weights(weights_path)
    return model


def check_weights(path: Path) -> None:
    """Raises ValueError for a Keras file that others wrote and that is not safe to open.

    That is an `.h5` or `.keras` file which names other files, or promises far more bytes than it
    has. Keras then reads it.
    """
    if path.suffix != ".keras":
        with reading(path, "an HDF5 file"), open_hdf5(path):
            return
    with reading(path, "a Keras file"), open_archive(path) as archive:
        if extra := set(archive.namelist()) - _MEMBERS:
            raise ValueError(
                f"{path} is refused: a network of images has no {min(extra)!r} beside "
                f"{', '.join(sorted(_MEMBERS))}"
            )
        contents = {name: read_member(archive, name) for name in _MEMBERS}
        with open_hdf5(path, io.BytesIO(contents[WEIGHTS_FILE])):
            return


def require_fitting(build: Callable[[], Any], path: Path) -> None:
    """Raises ValueError where `build` makes no model, or one that a file's weights cannot fill.

    A description of some bytes can ask for layers of any size. Here they get no numbers.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            made = build()
    finally:
        # Keras would fill what waits here when it next leaves such a scope.
        global_state.set_global_attribute("uninitialized_variables", [])
    if not isinstance(made, keras.Model):
        raise ValueError(f"it describes a {type(made).__name__}, not a model")
    numbers = sum(math.prod(variable.shape) for variable in made.variables)
    require_bounded(path, 4 * numbers, path.stat().st_size)
