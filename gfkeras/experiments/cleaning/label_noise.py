"""Artificial label noise, and the share of it that a cleaning finds."""

import dataclasses

import numpy as np

from gfkeras.errors import in_range


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """The effect of dropping images at an angle (degrees) or more, as shares of the labels."""

    angle: float
    # Shares of the wrong labels that are dropped, and of the right labels that are dropped.
    found: float
    lost: float


def flip_labels(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives round(share · N) images the label of another identity, drawn evenly.

    `labels` (N,) are int. `share` is in [0, 1), and the same `seed` gives the same flips. Returns
    the new labels and (N,) bool, true for the wrong ones.
    """
    labels = np.array(labels)
    in_range("share", share, 0, 1)
    present = np.unique(labels)
    if (count := len(present)) < 2:
        raise ValueError(f"`labels` must hold at least two identities. Received: {count}")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    place = np.searchsorted(present, labels[chosen])
    # A step of 1 … C − 1 around the circle of identities never ends at the image's own identity.
    place = (place + rng.integers(1, len(present), len(chosen))) % len(present)
    labels[chosen] = present[place]
    flipped = np.zeros(len(labels), bool)
    flipped[chosen] = True
    return labels, flipped


def operating_curve(
    angles: np.ndarray, flipped: np.ndarray, at: np.ndarray | list[float]
) -> list[OperatingPoint]:
    """Returns the shares of wrong and of right labels that are dropped at each angle in `at`.

    `angles` (N,) are degrees to the dominant centers. `flipped` (N,) is true for wrong labels.
    """
    wrong, right = angles[flipped], angles[~flipped]
    return [
        OperatingPoint(float(angle), float((wrong >= angle).mean()), float((right >= angle).mean()))
        for angle in at
    ]
