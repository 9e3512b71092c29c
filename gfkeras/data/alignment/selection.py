"""Which of the faces in a photo are meant."""

from __future__ import annotations

import numpy as np

from gfkeras.data.alignment.detections import Detections
from gfkeras.errors import one_of

CHOICES = ("largest", "central", "all")


def choose_faces(detections: Detections, choose: str = "largest") -> np.ndarray:
    """Indices of the faces that are meant.

    Args:
        detections: of one photo.
        choose: "largest", the box with the greatest area: right for most photos, where
            bystanders are further away. "central", the box whose middle is nearest to the
            photo's: right for data sets whose photos were cut around the person named, such as
            LFW. "all", every face, the surest first.

    Returns:
        int64 indices: one for "largest" and "central", none where no face was found. Of equals
        the surest is taken.
    """
    one_of("choose", choose, CHOICES)
    if choose == "all" or not len(detections):
        return np.arange(len(detections))
    corners, extents = np.split(detections.boxes.astype(np.float64), 2, axis=1)
    if choose == "largest":
        return np.array([np.argmax(np.prod(extents, axis=1))])
    height, width = detections.photo_size
    offsets = corners + extents / 2 - [width / 2, height / 2]
    return np.array([np.argmin(np.square(offsets).sum(axis=1))])
