"""Which of an identity's centers is the dominant one, and how far its images are from it."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class DominantCenters:
    """The dominant sub-center of each identity and the angle of each image to it.

    Attributes:
        counts: (C, K) int64, images of each identity that are nearest to each of its centers.
        dominant: (C,) int64, the center with most of them; 0 for an identity without images.
        share: (C,) float64, its part of the identity's images; NaN without images.
        angles: (N,) float64, degrees between an image and its identity's dominant center.
    """

    counts: np.ndarray
    dominant: np.ndarray
    share: np.ndarray
    angles: np.ndarray


def own_cosines(embeddings: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """cos θ of each image with the centers of its own identity.

    Args:
        embeddings: (N, D), of any length.
        labels: (N,) int in [0, C).
        centers: (C, K, D), of any length.

    Returns:
        (N, K) float64.
    """
    return np.einsum("nd,nkd->nk", unit(embeddings), unit(centers)[labels])


def dominant_centers(cosines: np.ndarray, labels: np.ndarray, num_classes: int) -> DominantCenters:
    """Finds the dominant centers from what `own_cosines` gave.

    An image belongs to the center it is nearest to; the center with most images is dominant.
    Of centers with as many images the one that all of the identity's images are nearer to, by
    their mean cosine, is taken: small identities tie often, which the paper's do not.

    Args:
        cosines: (N, K), with NaN rows for images that could not be read.
        labels: (N,) int in [0, num_classes).
        num_classes: C.
    """
    labels = np.asarray(labels)
    read = ~np.isnan(cosines).any(axis=1)
    width = cosines.shape[1]
    nearest = np.argmax(cosines[read], axis=1)
    counts = np.bincount(labels[read] * width + nearest, minlength=num_classes * width)
    counts = counts.reshape(num_classes, width)
    total = counts.sum(axis=1)
    sums = np.zeros((num_classes, width))
    np.add.at(sums, labels[read], cosines[read])
    most = counts == counts.max(axis=1, keepdims=True)
    dominant = np.argmax(np.where(most, sums, -np.inf), axis=1)
    dominant[total == 0] = 0
    with np.errstate(invalid="ignore"):
        share = counts[np.arange(num_classes), dominant] / total
    cosine = cosines[np.arange(len(labels)), dominant[labels]]
    return DominantCenters(counts, dominant, share, np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def nearest_others(
    embeddings: np.ndarray, labels: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The other identity that each image is nearest to.

    Args:
        embeddings: (N, D).
        labels: (N,) int, the image's own identity, which is left out.
        centers: (C, D), one for each identity: the dominant ones. C ≥ 2.

    Returns:
        (N,) identities and (N,) angles to their centers in degrees.
    """
    cosines = unit(embeddings) @ unit(centers).T
    rows = np.arange(len(labels))
    cosines[rows, labels] = -np.inf
    found = np.argmax(cosines, axis=1)
    return found, np.degrees(np.arccos(np.clip(cosines[rows, found], -1, 1)))


def unit(rows: np.ndarray) -> np.ndarray:
    """The vectors along the last axis at length 1, float64; zero vectors stay zero."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
