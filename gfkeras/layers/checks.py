"""Checks of the arguments of heads and losses.

Shapes and dtypes are always known, but values only in eager code. Each head and loss documents
the effect of a wrong value inside a compiled step.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

Shape = tuple[int | None, ...]


def known_values(tensor: Any) -> np.ndarray | None:
    """Returns the values of a tensor as an array, or None while a step is being traced."""
    if isinstance(tensor, np.ndarray):
        return tensor
    try:
        return ops.convert_to_numpy(tensor)
    except Exception:  # noqa: BLE001 - Each backend has its own error for a symbolic tensor.
        return None


def check_two_axes(name: str, shape: Shape, second: str = "dimensions", known: bool = False) -> Any:
    """Returns the size of the second axis of a shape (batch, `second`).

    Raises:
        ValueError: for any other shape, and with `known` if the size is None.
    """
    if len(shape) != 2 or (known and shape[1] is None):
        raise ValueError(
            f"`{name}` must have the shape (batch, {second}). Received: a shape of {tuple(shape)}"
        )
    return shape[1]


def same_where_known(shape: Shape, other: Shape) -> bool:
    """Whether two shapes of equal rank agree. None agrees with any size."""
    return all(a == b or None in (a, b) for a, b in zip(shape, other, strict=True))


def in_classes(labels: Any, count: Any) -> Any:
    """Returns which labels are in [0, count), elementwise."""
    return ops.logical_and(labels >= 0, labels < count)


def rows_of(labels: Any, rows: Any) -> Any:
    """Returns the row of each label, (B, ...). A label outside [0, N) is clipped."""
    return ops.take(rows, ops.clip(labels, 0, rows.shape[0] - 1), axis=0)


def check_embeddings(embeddings: Any, name: str = "embedding") -> Any:
    """Returns the embeddings (B, D) as a float32 tensor.

    Raises:
        ValueError: if they are not 2-D or not floats, and in eager code if they contain NaN or
            infinity.
    """
    embeddings = ops.convert_to_tensor(embeddings)
    check_two_axes(name, embeddings.shape)
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
    """Returns the labels (B,) of embeddings (B, D) as an integer tensor.

    Raises:
        ValueError: if they are not integers of shape (B,), and in eager code if a label is
            outside [0, num_classes).
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
    if embeddings is not None and not same_where_known(labels.shape, embeddings.shape[:1]):
        raise ValueError(
            f"`{name}` must have one entry per embedding. Received: {labels.shape[0]} {name} and "
            f"{embeddings.shape[0]} embeddings"
        )
    values = None if num_classes is None else known_values(labels)
    if values is not None and values.size and (values.min() < 0 or values.max() >= num_classes):
        raise ValueError(
            f"`{name}` must lie in [0, {num_classes}). Received: {name} from {values.min()} "
            f"to {values.max()}"
        )
    return labels
