"""The faces found in one photo."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces of one photo, the surest first.

    Attributes:
        boxes: (N, 4) float32, x and y of the upper left corner, width and height in pixels; a
            face at the photo's edge can reach beyond it.
        landmarks: (N, 5, 2) float32 points (x, y): left eye, right eye, tip of the nose, left
            and right corner of the mouth, as seen in the image.
        scores: (N,) float32 in 0…1.
        photo_size: height and width of the photo.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    photo_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)
