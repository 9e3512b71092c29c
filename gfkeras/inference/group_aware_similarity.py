"""Similarity of faces that includes the distance of their group features."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gfkeras.errors import one_of

DISTANCES = ("l2", "squared-l2", "cosine")


def group_aware_similarity(
    embedding_a: Any,
    embedding_b: Any,
    group_a: Any,
    group_b: Any,
    beta: float = 0.1,
    gamma: float = 1 / 3,
    distance: str | Callable[[Any, Any], Any] = "l2",
) -> Any:
    """Returns S* = cos(v̄_a, v̄_b) − β·D(v̂_a, v̂_b)^γ for each row (arXiv 2005.10497, sec. 3.4).

    Faces of different groups become less similar. In the paper, S* improves IJB-B and most points
    of IJB-C, but not IJB-C at a FAR of 1e-6. Measure it on your data before you use it. The paper
    does not define the distance D.

    Args:
        embedding_a, embedding_b: (B, D), normalised or not.
        group_a, group_b: (B, G), the group features v̂, normalised or not.
        beta: weight of the distance. 0 gives the plain cosine.
        gamma: exponent of the distance.
        distance: distance D of the L2-normalised group features: "l2", "squared-l2", "cosine"
            (1 − cos), or a function of both that returns (B,) ≥ 0.

    Returns:
        (B,) float32, at most 1. Arrays and lists give an array and do not need Keras. Tensors give
        a tensor.

    Raises:
        ValueError: if the shapes do not match, gamma is not positive or the distance is unknown.
    """
    ops, rows_of = _operations(embedding_a, embedding_b, group_a, group_b)
    a, b = rows_of(embedding_a), rows_of(embedding_b)
    first, second = rows_of(group_a), rows_of(group_b)
    for name, left, right in (("embedding", a, b), ("group", first, second)):
        shapes = tuple(left.shape), tuple(right.shape)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or left.shape[0] != a.shape[0]:
            raise ValueError(
                f"`{name}_a` and `{name}_b` must both have shape (B, width), with one B for all "
                f"four arguments. Received: shapes {shapes[0]} and {shapes[1]}, B={a.shape[0]}"
            )
    if not gamma > 0:
        raise ValueError(f"`gamma` must be positive. Received: gamma={gamma!r}")
    if not callable(distance):
        one_of("distance", distance, DISTANCES)
    cosine = ops.sum(_unit(ops, a) * _unit(ops, b), axis=-1)
    first, second = _unit(ops, first), _unit(ops, second)
    if callable(distance):
        apart = distance(first, second)
    elif distance == "cosine":
        apart = 1.0 - ops.sum(first * second, axis=-1)
    else:
        apart = ops.sum(ops.square(first - second), axis=-1)
        apart = ops.sqrt(apart) if distance == "l2" else apart
    # Rounding can make a distance of zero negative, and the power of a negative number is NaN.
    return cosine - beta * ops.power(ops.maximum(apart, 0.0), gamma)


def _operations(*arguments: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Returns NumPy or `keras.ops`, and a function that converts values to float32."""
    if all(isinstance(values, np.ndarray | list | tuple) for values in arguments):
        return np, lambda values: np.asarray(values, np.float32)
    from keras import ops

    return ops, lambda values: ops.convert_to_tensor(values, dtype="float32")


def _unit(ops: Any, rows: Any) -> Any:
    norm = ops.sqrt(ops.sum(ops.square(rows), axis=-1, keepdims=True))
    return rows / ops.maximum(norm, 1e-12)
