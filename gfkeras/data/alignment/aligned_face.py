"""One face cut out of a photo."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class AlignedFace:
    """An aligned face and where it was in the photo.

    Attributes:
        image: (height, width, 3) uint8, RGB.
        landmarks: (5, 2) float32 points (x, y) in pixels of the photo.
        box: (4,) float32 x, y, width and height in the photo; None for known landmarks.
        score: how sure the detector was, 0…1; None for known landmarks.
        faces: how many faces the photo has, this one included; 1 for known landmarks.
    """

    image: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray | None
    score: float | None
    faces: int
