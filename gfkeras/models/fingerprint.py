"""Which model made an embedding."""

from __future__ import annotations

import hashlib

import keras
import numpy as np


def model_fingerprint(model: keras.Model, mode: str | None = None) -> str:
    """SHA-256 of a model's weights, 64 hexadecimal digits; other weights, another fingerprint.

    Args:
        model: any Keras model.
        mode: "soft" or "hard" where the embedding depends on it; the model's own by default.
    """
    digest = hashlib.sha256(str(mode or getattr(model, "mode", None)).encode())
    for weight in model.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
