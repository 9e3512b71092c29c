"""Degraded images and reduced embeddings."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfkeras.data.jpeg import decode_jpeg
from gfkeras.errors import positive_int, wrong
from gfkeras.evaluation.similarity import unit

Change = Callable[[np.ndarray], np.ndarray]

Floats = npt.NDArray[np.floating[Any]]


def jpeg_compression(quality: int) -> Change:
    """Returns a function that stores a face (H, W, 3) uint8 as JPEG and reads it back.

    `quality` is from 1 to 100. It uses libjpeg's tables with colour at half resolution (4:2:0), as
    Pillow, OpenCV and most cameras do. Losses from earlier compression remain: aligned faces often
    come from JPEGs.
    """
    if positive_int("quality", quality) > 100:
        raise ValueError(f"`quality` must be from 1 to 100. Received: quality={quality!r}")

    def change(face: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        return decode_jpeg(stream.getvalue())

    return change


def small_image(side: int) -> Change:
    """Returns a function that shrinks a face (S, S, 3) uint8 to `side`×`side` and enlarges it back.

    Both steps use Pillow's bilinear filter. Shrinking averages with a triangle as wide as two
    pixels of the small image. Enlarging interpolates. The small image is uint8, like an image file.
    A face of that size already stays as it is. A larger `side` raises ValueError.
    """
    positive_int("side", side)

    def change(face: np.ndarray) -> np.ndarray:
        size = face.shape[0]
        if side > size:
            raise ValueError(f"`side` must be at most the faces' {size} pixels. Received: {side}")
        if side == size:
            return face
        small = Image.fromarray(face).resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))

    return change


def principal_directions(embedding: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the directions (D, D), one per column, along which embeddings are longest, in order.

    The embeddings (N, D), N at least D, must be of faces that are not scored. The directions are
    principal components without subtracting the mean, which keeps cosines: all D directions only
    rotate the embeddings.
    """
    rows = unit(np.asarray(embedding)).astype(np.float64)
    if len(rows) < rows.shape[1]:
        expected = f"hold at least as many faces as dimensions, {rows.shape[1]}"
        raise wrong("embedding", expected, len(rows))
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    # `eigh` sorts by ascending length.
    return vectors[:, ::-1]


def quantize(embedding: npt.ArrayLike, bits: int) -> npt.NDArray[np.int16]:
    """Returns each number of an embedding (N, D) as an integer of `bits` bits, stored in int16.

    `bits` is from 1 to 16, and 8 in FaceNet. The formula is round(e · (2^(bits−1) − 1) / max|e|).
    Each embedding uses its own maximum, which need not be stored, because a cosine does not depend
    on the length. One bit keeps only the signs, −1 and 1. A zero embedding stays zero, except for
    one bit, which has no zero.
    """
    if positive_int("bits", bits) > 16:
        raise ValueError(f"`bits` must be from 1 to 16. Received: bits={bits!r}")
    rows = np.asarray(embedding, np.float64)
    if bits == 1:
        return np.where(rows < 0, -1, 1).astype(np.int16)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    # Symmetric levels: the value −2^(bits−1) is not used.
    levels = 2 ** (bits - 1) - 1
    return np.rint(rows * (levels / np.where(largest > 0, largest, 1))).astype(np.int16)
