"""People as flat colours whose angles are known."""

from __future__ import annotations

import numpy as np


def colour(degrees: float) -> np.ndarray:
    """An image whose colour differs from grey in a direction of the red-green plane."""
    turn = np.radians(degrees)
    value = 128 + 120 * np.array([np.cos(turn), np.sin(turn), 0])
    return np.broadcast_to(np.rint(value).astype(np.uint8), (112, 112, 3))


# The directions of each person's images in degrees. The center has the person's first angle.
PEOPLE = {"ann": 0.0, "bob": 120.0, "eve": 240.0}
IMAGES = {
    "ann": [0, 10, -20, 60, 118, -74],
    "bob": [120, 130, 110, 196, 121],
    "eve": [240, 238, 5],
}
# Images at 75° or more from their own center, and the nearest other center.
DROPPED = {"ann/4.png": "bob", "bob/3.png": "eve", "eve/2.png": "ann"}
