"""Checks of the arguments of heads and losses.

Shapes and dtypes are always known. Values are known eagerly only: inside a compiled step
each head and loss documents what becomes of a wrong one.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def known_values(tensor: Any) -> np.ndarray | None:
    """The values of a tensor as an array, or None where a step is being traced."""
    if isinstance(tensor, np.ndarray):
        return tensor
    try:
        return ops.convert_to_numpy(tensor)
    except Exception:  # noqa: BLE001 - a symbolic tensor: each backend has its own error.
        return None


def check_embeddings(embeddings: Any, name: str = "embedding") -> Any:
    """The embeddings as a float32 tensor.

    Args:
        embeddings: (B, D) float.
        name: what the argument is called.

    Raises:
        ValueError: if they are not 2-D or not floats, or, where values are known, hold
            NaN or infinity.
    """
    embeddings = ops.convert_to_tensor(embeddings)
    if len(embeddings.shape) != 2:
        raise ValueError(
            f"`{name}` must have the shape (batch, dimensions). "
            f"Received: a shape of {tuple(embeddings.shape)}"
        )
    dtype = keras.backend.standardize_dtype(embeddings.dtype)
    if "float" not in dtype:
        raise ValueError(f"`{name}` must be floats. Received: {name} of dtype {dtype}")
    embeddings = ops.cast(embeddings, "float32")
    values = known_values(embeddings)
    if values is not None and not np.isfinite(values).all():
        rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in {len(rows)} of "
            f"{len(values)} rows, the first at index {rows[0]}"
        )
    return embeddings


def check_labels(
    labels: Any, num_classes: int | None = None, embeddings: Any = None, name: str = "labels"
) -> Any:
    """The labels as an integer tensor.

    Args:
        labels: (B,) int.
        num_classes: where given, labels lie in [0, num_classes).
        embeddings: what the labels are of, (B, D).
        name: what the argument is called.

    Raises:
        ValueError: if they are not integers of shape (B,), or, where values are known,
            some are no class.
    """
    labels = ops.convert_to_tensor(labels)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "int" not in dtype:
        raise ValueError(
            f"`{name}` must be integers. Received: {name} of dtype {dtype} and shape "
            f"{tuple(labels.shape)}"
        )
    if len(labels.shape) != 1:
        raise ValueError(
            f"`{name}` must have the shape (batch,). Received: a shape of {tuple(labels.shape)}"
        )
    if embeddings is not None:
        count, expected = labels.shape[0], embeddings.shape[0]
        if count is not None and expected is not None and count != expected:
            raise ValueError(
                f"`{name}` must have one entry per embedding. Received: {count} {name} and "
                f"{expected} embeddings"
            )
    values = None if num_classes is None else known_values(labels)
    if values is not None and values.size and (values.min() < 0 or values.max() >= num_classes):
        raise ValueError(
            f"`{name}` must lie in [0, {num_classes}). Received: {name} from {values.min()} "
            f"to {values.max()}"
        )
    return labels
