"""Weights of presets in half precision, as safetensors files.

Kernels, which have two or more dimensions, are float16. Vectors stay float32, because the
statistics of batch normalisation can exceed the range of float16.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from gfkeras.errors import reading
from gfkeras.files import replacing

_BACKBONE = "backbone"


def save_half(model: keras.Model, path: str | os.PathLike[str]) -> Path:
    """Writes a model's weights, with kernels in float16. Equal weights give equal files.

    Raises ValueError if a kernel has values out of the range of float16.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, variable in _named(model):
        values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        arrays[name] = _half(name, values) if values.ndim > 1 else np.ascontiguousarray(values)
    # `save_file` would write in place. The file must appear only when it is complete.
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays))
    return Path(path)


def load_half(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads weights that `save_half` wrote into a model.

    Raises ValueError if the file is damaged or a weight has another shape.
    """
    arrays = read_safetensors(path)
    for name, variable in _named(model):
        expected = tuple(variable.shape)
        received = arrays.pop(name, None)
        if received is None or received.shape != expected:
            what = "nothing" if received is None else f"shape {received.shape}"
            raise ValueError(
                f"{os.fspath(path)} is for another architecture. Weight {name!r} must have shape "
                f"{expected}. Received: {what}"
            )
        variable.assign(received.astype(np.float32))
    if arrays:
        raise ValueError(
            f"{os.fspath(path)} is for another architecture. The model has no weight "
            f"{next(iter(arrays))!r}"
        )


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name. Raises ValueError if it is damaged."""
    with reading(Path(path), "a safetensors file", anything=True):
        return safetensors.numpy.load_file(path)


def _half(name: str, values: np.ndarray) -> np.ndarray:
    # An overflow becomes an infinity, which the next lines report.
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(
            f"The weight {name!r} must be in the range of float16. "
            f"Received: values up to {np.abs(values).max():g}"
        )
    return np.ascontiguousarray(half)


def _named(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each weight with a name that depends only on the architecture.

    The name leaves out the backbone's own name, because Keras adds a counter to it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named(layer, f"{prefix}{_BACKBONE}/")
            continue
        for variable in layer.weights:
            inner = variable.path.split("/")
            # Keep the path from the last occurrence of the layer's name. The parts before it
            # depend on how the model was built.
            start = len(inner) - 1 - inner[::-1].index(layer.name)
            yield prefix + "/".join(inner[start:]), variable
