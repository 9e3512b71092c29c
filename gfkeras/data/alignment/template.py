"""Where the five points of a face belong in an aligned image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfkeras.errors import positive_int

FaceSize = int | tuple[int, int] | Sequence[int]

# Left eye, right eye, tip of the nose, left and right corner of the mouth, left and right as
# seen in the image: the points that ArcFace and nearly every network since was trained with.
ARCFACE_TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
ARCFACE_TEMPLATE.flags.writeable = False
_TEMPLATE_SIZE = 112


def face_size(size: FaceSize) -> tuple[int, int]:
    """Height and width from one number or two.

    Raises:
        ValueError: for anything but one or two integers of at least 1.
    """
    if isinstance(size, str) or not isinstance(size, Sequence):
        size = (size, size)
    if len(size) != 2:
        raise ValueError(
            f"`size` must be one integer, or a height and a width. Received: size={size!r}"
        )
    return positive_int("size", size[0]), positive_int("size", size[1])


def face_template(size: FaceSize = _TEMPLATE_SIZE) -> np.ndarray:
    """The five points (x, y) of the standard template, as a (5, 2) float64 array.

    At 112×112 they are ArcFace's. At 112×96 (height 112, width 96, as CosFace and
    SphereFace use it) eight columns are gone on either side, so x is less by 8. Any
    other size scales by its height and keeps the face in the middle.

    Args:
        size: height and width of the aligned image, or one number for both.
    """
    height, width = face_size(size)
    scale = height / _TEMPLATE_SIZE
    # A pixel's centre is at a whole number, so the middle of n pixels is at (n - 1) / 2.
    middle = (_TEMPLATE_SIZE - 1) / 2
    return (ARCFACE_TEMPLATE - middle) * scale + [(width - 1) / 2, (height - 1) / 2]
