"""Distances between all pairs of embeddings."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import one_of
from gfkeras.layers.angular import arccos, unit_rows
from gfkeras.layers.checks import check_embeddings

DISTANCES = ("squared-l2", "l2", "angular")
# The largest distance between unit vectors: no margin can be above it.
LARGEST = {"squared-l2": 4.0, "l2": 2.0, "angular": math.pi}


def pairwise_distance(
    embeddings: Any, distance: str = "squared-l2", normalize: bool = True, other: Any = None
) -> Any:
    """Distances of all pairs of rows, from one matrix product.

    ‖a‖² + ‖b‖² − 2a·b, its square root, or the angle arccos(a·b / ‖a‖‖b‖). Rounding leaves
    squared distances off by some 1e-7 of the squared norms, so l2 distances and angles of
    nearly equal rows are off by some 1e-4.

    Args:
        embeddings: (B, D) float.
        distance: "squared-l2", "l2" or "angular", which is in radians.
        normalize: whether rows are divided by their norm first. Angles are of directions
            either way.
        other: (C, D) float; None takes the embeddings themselves.

    Returns:
        (B, C) float32, not negative and with finite gradients, that of "l2" being 0 between
        equal rows. Squared and l2 distances of a row to itself are exactly 0, and so are
        angles.

    Raises:
        ValueError: for an unknown distance, rows of unlike length, or what
            `gfkeras.layers.checks.check_embeddings` refuses.

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
        # Squared norms as the product has them, so that equal rows are at exactly 0.
        of_rows = of_columns = ops.diagonal(products)
    else:
        of_rows, of_columns = (ops.sum(ops.square(each), axis=1) for each in (rows, columns))
    squared = of_rows[:, None] + of_columns[None] - 2.0 * products
    if distance == "squared-l2":
        return ops.maximum(squared, 0.0)
    # A NaN is not above 0, and 0 in its place would hide it.
    apart = ops.logical_or(squared > 0.0, ops.isnan(squared))
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)
