"""Label noise made on purpose, and the share of it that a cleaning finds."""

from __future__ import annotations

import dataclasses

import numpy as np

from gfkeras.errors import in_range


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """The shares of the wrong labels `found` and of the right ones `lost` by dropping images at
    `angle` degrees or more.
    """

    angle: float
    found: float
    lost: float


def flip_labels(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives a share of the images the label of another identity, all others alike likely.

    Args:
        labels: (N,) int; the identities are those that occur.
        share: of all images, in [0, 1); round(share · N) are flipped.
        seed: the same one gives the same flips.

    Returns:
        (N,) labels and (N,) bool, which are wrong.
    """
    labels = np.array(labels)
    in_range("share", share, 0, 1)
    present = np.unique(labels)
    if (count := len(present)) < 2:
        raise ValueError(f"`labels` must be of at least two identities. Received: {count} of them")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    place = np.searchsorted(present, labels[chosen])
    # A step of 1 … C − 1 around the circle of identities never ends at the own one.
    place = (place + rng.integers(1, len(present), len(chosen))) % len(present)
    labels[chosen] = present[place]
    flipped = np.zeros(len(labels), bool)
    flipped[chosen] = True
    return labels, flipped


def operating_curve(
    angles: np.ndarray, flipped: np.ndarray, at: np.ndarray | list[float]
) -> list[OperatingPoint]:
    """Found wrong labels against lost right ones, for images dropped from each angle in `at` on.

    `angles` (N,) are degrees to the dominant centers; `flipped` (N,) is true for wrong labels.
    """
    wrong, right = angles[flipped], angles[~flipped]
    return [
        OperatingPoint(float(angle), float((wrong >= angle).mean()), float((right >= angle).mean()))
        for angle in at
    ]
