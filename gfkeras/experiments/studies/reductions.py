"""Smaller embeddings made of a trained network's: fewer dimensions, fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import positive_int
from gfkeras.evaluation.similarity import unit

Floats = npt.NDArray[np.floating[Any]]


def principal_directions(embedding: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The directions (D, D), one a column, along which unit embeddings are longest, longest first.

    Principal components without subtracting the mean, so that cosines are kept: by all D
    directions they are those of the embeddings themselves, only rotated.

    Args:
        embedding: (N, D) of faces that are not scored, N at least D.

    Raises:
        ValueError: for fewer faces than dimensions.
    """
    rows = unit(np.asarray(embedding)).astype(np.float64)
    if len(rows) < rows.shape[1]:
        raise ValueError(
            f"`embedding` must hold at least as many faces as dimensions, {rows.shape[1]}. "
            f"Received: {len(rows)}"
        )
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return vectors[:, ::-1]


def quantize(embedding: npt.ArrayLike, bits: int) -> npt.NDArray[np.int16]:
    """Each number of an embedding as an integer of `bits` bits.

    round(e · (2^(bits−1) − 1) / max|e|), each embedding by its own largest number, which need
    not be kept: a cosine does not depend on the length. With one bit only the signs are left, −1
    and 1. A zero embedding stays zero, but for one bit, which has no zero.

    Args:
        embedding: (N, D).
        bits: 1 to 16; FaceNet's byte is 8.

    Returns:
        (N, D) int16.

    Raises:
        ValueError: for other bits.
    """
    if positive_int("bits", bits) > 16:
        raise ValueError(f"`bits` must be from 1 to 16. Received: bits={bits!r}")
    rows = np.asarray(embedding, np.float64)
    if bits == 1:
        return np.where(rows < 0, -1, 1).astype(np.int16)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    levels = 2 ** (bits - 1) - 1
    return np.rint(rows * (levels / np.where(largest > 0, largest, 1))).astype(np.int16)
