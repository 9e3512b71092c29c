"""What a face may go through before it is embedded: JPEG compression, too few pixels."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from gfkeras.data.jpeg import decode_jpeg
from gfkeras.errors import positive_int

Change = Callable[[np.ndarray], np.ndarray]


def jpeg_compression(quality: int) -> Change:
    """A function that writes a face as JPEG and reads it again.

    libjpeg's tables at `quality`, colour at half resolution (4:2:0), as Pillow, OpenCV and most
    cameras write it. What the face went through before stays: aligned faces often come from JPEGs.

    Args:
        quality: 1 to 100.

    Returns:
        From (H, W, 3) uint8 to the same.

    Raises:
        ValueError: for another quality.
    """
    if positive_int("quality", quality) > 100:
        raise ValueError(f"`quality` must be from 1 to 100. Received: quality={quality!r}")

    def change(face: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        return decode_jpeg(stream.getvalue())

    return change


def small_image(side: int) -> Change:
    """A function that shrinks a face to `side`×`side` pixels and enlarges it again.

    Both by Pillow's bilinear filter: shrinking averages with a triangle as wide as two pixels of
    the small picture, enlarging interpolates. The small picture is uint8, as a file would be.
    At its own size a face stays as it is.

    Args:
        side: pixels a side of the small picture.

    Returns:
        From (S, S, 3) uint8, S at least `side`, to the same.

    Raises:
        ValueError: for a side below 1; by the function, for one above the face's.
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
