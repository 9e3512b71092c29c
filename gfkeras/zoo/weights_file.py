"""Weights of our own models in half precision: safetensors, small and safe to read.

Arrays of two dimensions and more, kernels, are float16; vectors, among them the statistics of
batch normalisations, whose range float16 does not have, stay float32.
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
    """Writes a model's weights, kernels in float16. Equal weights give equal bytes.

    Raises ValueError if a kernel has values that float16 cannot hold.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, variable in _named(model):
        values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        arrays[name] = _half(name, values) if values.ndim > 1 else np.ascontiguousarray(values)
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays))
    return Path(path)


def load_half(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Gives a model the weights that `save_half` wrote.

    A ValueError says that the file is damaged, or names the first weight that differs.
    """
    arrays = read_safetensors(path)
    for name, variable in _named(model):
        expected = tuple(variable.shape)
        received = arrays.pop(name, None)
        if received is None or received.shape != expected:
            what = "nothing" if received is None else f"shape {received.shape}"
            raise ValueError(
                f"{os.fspath(path)} is of another architecture at {name!r}: expected shape "
                f"{expected}. Received: {what}"
            )
        variable.assign(received.astype(np.float32))
    if arrays:
        raise ValueError(
            f"{os.fspath(path)} is of another architecture: it also has {next(iter(arrays))!r}"
        )


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file, by name; raises ValueError for a damaged one."""
    with reading(Path(path), "a safetensors file", anything=True):
        return safetensors.numpy.load_file(path)


def _half(name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(
            f"The weight {name!r} reaches {np.abs(values).max():g}, which float16 cannot hold"
        )
    return np.ascontiguousarray(half)


def _named(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each weight under a name that depends on the architecture alone.

    The backbone's own name counts the backbones of the process, so it is not part of it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named(layer, f"{prefix}{_BACKBONE}/")
            continue
        for variable in layer.weights:
            inner = variable.path.split("/")
            # Below the layer's own name, which stands somewhere in the path.
            start = len(inner) - 1 - inner[::-1].index(layer.name)
            yield prefix + "/".join(inner[start:]), variable
