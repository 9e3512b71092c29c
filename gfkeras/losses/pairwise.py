"""Distances between all pairs of embeddings."""

from __future__ import annotations

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
        >>> import numpy as np
        >>> import gfkeras
        >>> rows = np.array([[3.0, 4.0], [3.0, 0.0]])
        >>> distances = gfkeras.losses.pairwise_distance(rows, "l2", normalize=False)
        >>> round(float(distances[0, 1]), 4)
        4.0
    """
    one_of("distance", distance, DISTANCES)
    rows = check_embeddings(embeddings, "embeddings")
    unit = normalize or distance == "angular"
    rows = unit_rows(rows) if unit else rows
    if other is None:
        columns = rows
    else:
        columns = check_embeddings(other, "other")
        if columns.shape[1] != rows.shape[1]:
            raise ValueError(
                "`other` must have as many dimensions as `embeddings`. Received: "
                f"{columns.shape[1]} and {rows.shape[1]}"
            )
        columns = unit_rows(columns) if unit else columns
    products = ops.matmul(rows, ops.transpose(columns))
    if distance == "angular":
        angles = arccos(products)
        if other is None:
            count = ops.shape(products)[0]
            angles = ops.where(ops.eye(count, dtype="bool"), 0.0, angles)
        return angles
    if other is None:
        # Squared norms as the product has them, so that equal rows are at exactly 0.
        squares = ops.diagonal(products)
        squared = squares[:, None] + squares[None] - 2.0 * products
    else:
        squared = (
            ops.sum(ops.square(rows), axis=1)[:, None]
            + ops.sum(ops.square(columns), axis=1)[None]
            - 2.0 * products
        )
    if distance == "squared-l2":
        return ops.maximum(squared, 0.0)
    apart = squared > 0.0
    # Not a NaN: `apart` is false for it, and 0 would hide it.
    apart = ops.logical_or(apart, ops.isnan(squared))
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)
