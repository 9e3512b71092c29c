"""Which model made an embedding."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.files import sha256


def model_fingerprint(source: keras.Model | str | os.PathLike[str], model: Any) -> str:
    """64 hexadecimal digits that name a model.

    Args:
        source: what was opened.
        model: the Keras model inside, whose names and weights count; None for an artefact, whose
            file counts, or all files of its folder with their names.
    """
    digest = hashlib.sha256()
    if model is not None:
        for weight in model.weights:
            values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(values.tobytes())
        return digest.hexdigest()
    path = Path(os.fspath(source))
    if path.is_file():
        return sha256(path)
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()
