"""Distances between all pairs of embeddings."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import one_of
from gfkeras.layers.angular import arccos, unit_rows
from gfkeras.layers.checks import check_embeddings

DISTANCES = ("squared-l2", "l2", "angular")
# The largest distance between unit vectors, and so the largest margin.
LARGEST = {"squared-l2": 4.0, "l2": 2.0, "angular": math.pi}


def pairwise_distance(
    embeddings: Any, distance: str = "squared-l2", normalize: bool = True, other: Any = None
) -> Any:
    """Returns the distances of all pairs of rows, from one matrix product.

    The distance is ‖a‖² + ‖b‖² − 2a·b, its square root, or the angle arccos(a·b / ‖a‖‖b‖).
    Rounding errors of squared distances are about 1e-7 of the squared norms. So l2 distances
    and angles of nearly equal rows have errors of about 1e-4.

    Args:
        embeddings: (B, D) float.
        distance: "squared-l2", "l2" or "angular" (in radians).
        normalize: whether rows are divided by their norm first. Angles do not depend on it.
        other: (C, D) float, or None for the distances between the embeddings themselves.

    Returns:
        (B, C) float32, not negative. All gradients are finite, and the gradient of "l2"
        between equal rows is 0. The distance of a row to itself is exactly 0.

    Raises:
        ValueError: for an unknown distance, for rows of different lengths, and for embeddings
            that are not 2-D floats or, eagerly, not finite.

    Example:
        >>> import gfkeras, numpy as np
        >>> rows = np.array([[3.0, 4.0], [3.0, 0.0]])
        >>> distances = gfkeras.losses.pairwise_distance(rows, "l2", normalize=False)
        >>> round(float(distances[0, 1]), 4)
        4.0
    """
    one_of("distance", distance, DISTANCES)
    rows = check_embeddings(embeddings, "embeddings")
    columns = rows if other is None else check_embeddings(other, "other")
    if columns.shape[1] != rows.shape[1]:
        raise ValueError(
            "`other` must have as many dimensions as `embeddings`. Received: "
            f"{columns.shape[1]} and {rows.shape[1]}"
        )
    if normalize or distance == "angular":
        rows, columns = unit_rows(rows), unit_rows(columns)
    products = ops.matmul(rows, ops.transpose(columns))
    if distance == "angular":
        itself = other is None and ops.eye(ops.shape(products)[0], dtype="bool")
        return ops.where(itself, 0.0, arccos(products))
    if other is None:
        # The squared norms must come from the same product. Then equal rows differ by exactly 0.
        of_rows = of_columns = ops.diagonal(products)
    else:
        of_rows, of_columns = (ops.sum(ops.square(each), axis=1) for each in (rows, columns))
    squared = of_rows[:, None] + of_columns[None] - 2.0 * products
    return ops.maximum(squared, 0.0) if distance == "squared-l2" else _root(squared)


def row_distance(rows: Any, others: Any, distance: str) -> Any:
    """Returns the distance of each row to the row of `others` at its place, (B,) float32.

    Both are (B, D) float32. For "angular" their rows must have length 1.
    """
    if distance == "angular":
        return arccos(ops.sum(rows * others, axis=1))
    squared = ops.sum(ops.square(rows - others), axis=1)
    return squared if distance == "squared-l2" else _root(squared)


def _root(squared: Any) -> Any:
    """Returns square roots with the gradient 0 at 0 and below, where the result is 0."""
    # A NaN is not above 0, but a 0 instead of it would hide the NaN.
    apart = ops.logical_or(squared > 0.0, ops.isnan(squared))
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)
