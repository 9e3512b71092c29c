"""Softmax cross-entropy that says so when a label is no class."""

from __future__ import annotations

from typing import Any

from keras import ops


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """−log softmax(logits)[label], per row, in float32.

    Args:
        logits: (B, N) float.
        labels: (B,) int.

    Returns:
        (B,) float32. A label outside [0, N) gives NaN on every backend and device,
        in compiled steps too: a wrong label must not train silently.
    """
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "int32")
    classes = logits.shape[-1]
    # Keras' own is one fused kernel where the backend has one, but takes a wrong label as it likes.
    loss = ops.sparse_categorical_crossentropy(
        ops.clip(labels, 0, classes - 1), logits, from_logits=True
    )
    valid = ops.logical_and(labels >= 0, labels < classes)
    return ops.where(valid, loss, float("nan"))
