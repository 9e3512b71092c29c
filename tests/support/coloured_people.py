"""People as flat colours whose angles are known."""

from __future__ import annotations

import numpy as np


def colour(degrees: float) -> np.ndarray:
    """A picture whose colour, less grey, points into a direction of the red-green plane."""
    turn = np.radians(degrees)
    value = 128 + 120 * np.array([np.cos(turn), np.sin(turn), 0])
    return np.broadcast_to(np.rint(value).astype(np.uint8), (112, 112, 3))


# What each person's images look like, in degrees; the planted center stands at PEOPLE's own angle.
PEOPLE = {"ann": 0.0, "bob": 120.0, "eve": 240.0}
IMAGES = {
    "ann": [0, 10, -20, 60, 118, -74],
    "bob": [120, 130, 110, 196, 121],
    "eve": [240, 238, 5],
}
# Whose image at 75° or more from its own center is nearest to which other one.
DROPPED = {"ann/4.png": "bob", "bob/3.png": "eve", "eve/2.png": "ann"}
