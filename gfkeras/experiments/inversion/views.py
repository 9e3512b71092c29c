"""Views of an image for the network: resized, shifted and mirrored by two matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def view_matrix(
    size: int, resolution: int, shift: float = 0.0, mirrored: bool = False
) -> np.ndarray:
    """A matrix that resamples one axis linearly; beyond the border it repeats the last pixel.

    Two of them do to an image what a step asks for, on any backend, with a product for a
    gradient, whatever is drawn.

    Args:
        size: pixels that come out.
        resolution: pixels of the image.
        shift: by how many of the pixels that come out, towards the end.
        mirrored: the axis turned round.

    Returns:
        (size, resolution) float32, whose rows sum to 1.
    """
    places = (np.arange(size) + 0.5 - shift) * (resolution / size) - 0.5
    if mirrored:
        places = resolution - 1 - places
    places = np.clip(places, 0, resolution - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, resolution - 1)
    matrix = np.zeros((size, resolution), np.float64)
    rows = np.arange(size)
    matrix[rows, lower] += 1 - (places - lower)
    matrix[rows, upper] += places - lower
    return matrix.astype(np.float32)


def seen_through(images: Any, rows: Any, columns: Any) -> Any:
    """Images resampled by a matrix for their rows and one for their columns.

    Args:
        images: (B, R, R, C) float32.
        rows: (S, R) of `view_matrix`.
        columns: (S, R).

    Returns:
        (B, S, S, C) float32.
    """
    return ops.einsum("wv,bhvc->bhwc", columns, ops.einsum("hv,bvwc->bhwc", rows, images))


def draw_view(
    rng: np.random.Generator, size: int, resolution: int, shift: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of a step: moved by up to `shift` pixels each way, mirrored every other time.

    Three numbers are drawn whatever is asked for, so that one setting does not change what
    another one draws.
    """
    down, across, side = rng.random(3)
    return (
        view_matrix(size, resolution, (2 * down - 1) * shift),
        view_matrix(size, resolution, (2 * across - 1) * shift, mirror and side < 0.5),
    )
