"""Resampling images by one matrix for rows and one for columns.

Y = R·X·Cᵀ for each channel: whatever a crop, an enlargement or a loss of resolution does to
an image it does to rows and columns separately. Two multiplications of matrices are faster
than gathering pixels, and the same on every backend.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from keras import ops


def resample(images: Any, rows: Any, columns: Any) -> Any:
    """Applies to each image its own two matrices.

    Args:
        images: (B, H, W, 3) float.
        rows: (B, H', H), each row summing to 1.
        columns: (B, W', W), likewise.

    Returns:
        (B, H', W', 3).
    """
    return ops.einsum("bij,bjkc,blk->bilc", rows, images, columns)


def crop_matrix(starts: Any, lengths: Any, size: int) -> Any:
    """The matrices that enlarge [start, start + length) of a line of pixels to the whole line.

    Linear interpolation with pixels as intervals of length 1; beyond the border the
    outermost pixel is repeated.

    Args:
        starts: (B,) float, in pixels.
        lengths: (B,) float, at most `size`: this interpolates and does not average.
        size: pixels in the line.

    Returns:
        (B, size, size) float32.
    """
    pixels = np.arange(size, dtype=np.float32)
    centres = (pixels + 0.5) / size
    positions = ops.expand_dims(starts, 1) + ops.expand_dims(lengths, 1) * centres - 0.5
    positions = ops.clip(positions, 0.0, size - 1.0)
    return ops.relu(1.0 - ops.abs(ops.expand_dims(positions, 2) - pixels))


@functools.cache
def reduction_matrices(size: int, smallest: int) -> np.ndarray:
    """The matrices that shrink a line of pixels and enlarge it again, for each small size.

    Shrinking averages with a triangle as wide as two pixels of the small line, enlarging
    interpolates linearly: bilinear `keras.ops.image.resize`, with `antialias` on the way down.

    Args:
        size: pixels in the line.
        smallest: the least number of pixels in between.

    Returns:
        (size − smallest + 1, size, size) float32, for smallest…size pixels.
    """
    return np.stack([_linear(n, size) @ _linear(size, n) for n in range(smallest, size + 1)])


def _linear(source: int, target: int) -> np.ndarray:
    """(target, source): linear resampling of a line, averaging where it shrinks."""
    ratio = source / target
    positions = (np.arange(target) + 0.5) * ratio - 0.5
    distances = np.abs(positions[:, None] - np.arange(source)) / max(ratio, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
