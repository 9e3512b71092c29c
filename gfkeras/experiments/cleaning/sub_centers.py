"""Dominant sub-centers, the angles of images to them, and the angle to cut at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.inference import Embedder
from gfkeras.models import FaceClassifier

Progress = Callable[[str, int, int | None], None]
# Images decoded and embedded together: 40 MB of pixels.
_CHUNK = 1024
PAPER_ANGLE = 75.0
# Two halves of one normal distribution have 2.65; heaps of right and of wrong labels, 3.2 to 4.2
# on ORL with 6 to 40 % of the labels wrong.
LEAST_SEPARATION = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class DominantCenters:
    """The dominant sub-center of each of C identities and the angle of each of N images to it.

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
    """cos θ (N, K) float64 of images (N, D) with the centers (C, K, D) of their own identities."""
    return np.einsum("nd,nkd->nk", unit(embeddings), unit(centers)[labels])


def dominant_centers(cosines: np.ndarray, labels: np.ndarray, num_classes: int) -> DominantCenters:
    """Finds the dominant centers from the cosines (N, K) of `own_cosines`, NaN for unreadable
    images.

    An image belongs to the center it is nearest to; the center with most images is dominant. Of
    centers with as many images the one that all of the identity's images are nearer to, by their
    mean cosine, is taken: small identities tie often, which the paper's do not.
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
    """The other identity that each image (N, D) is nearest to, (N,), and the angle in degrees,
    (N,).

    `labels` (N,) are the images' own identities, which are left out; `centers` (C, D) the dominant
    ones, C ≥ 2.
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


class Measuring:
    """A classifier with sub-centers, and the faces that it was trained on.

    Images are read as they are needed and embeddings are not kept, so that a million records take
    no more memory than a thousand.
    """

    def __init__(
        self, classifier: FaceClassifier, faces: Faces | RecordSet, progress: Progress | None = None
    ):
        self.centers = sub_centers_of(classifier)
        self.faces = faces
        self.progress = progress
        self.labels = np.asarray(faces.labels)
        self._embedder = Embedder(classifier.model)

    def dominant(self) -> DominantCenters:
        """The dominant centers and the angles to them; NaN for what cannot be read."""
        cosines = np.full((len(self.faces), self.centers.shape[1]), np.nan)
        for rows, embedding in self._embedded(np.arange(len(self.faces)), "Measuring angles"):
            cosines[rows] = own_cosines(embedding, self.labels[rows], self.centers)
        return dominant_centers(cosines, self.labels, len(self.centers))

    def nearest_others(
        self, rows: np.ndarray, dominant: DominantCenters
    ) -> tuple[np.ndarray, np.ndarray]:
        """For some images the other identity they are nearest to, and the angle in degrees."""
        centers = self.centers[np.arange(len(self.centers)), dominant.dominant]
        # A center that no image is nearest to stands where chance has put it.
        centers[dominant.counts.sum(axis=1) == 0] = 0
        found = np.full(len(self.faces), -1)
        angles = np.full(len(self.faces), np.nan)
        for chosen, embedding in self._embedded(rows, "Looking for likenesses"):
            found[chosen], angles[chosen] = nearest_others(embedding, self.labels[chosen], centers)
        return found[rows], angles[rows]

    def _embedded(self, rows: np.ndarray, what: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows that can be read and their embeddings, in pieces."""
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            if isinstance(self.faces, Faces):
                images = self.faces.images[chosen]
            else:
                images, read, _ = self.faces.decode(chosen)
                chosen, images = chosen[read], images[read]
            if len(chosen):
                yield chosen, self._embedder(images).embedding
            if self.progress is not None:
                self.progress(what, min(start + _CHUNK, len(rows)), len(rows))


def sub_centers_of(classifier: FaceClassifier) -> np.ndarray:
    """The centers of the head, (C, K, D) float32; ValueError where an identity has one, or none."""
    head = classifier.head
    centers = None if head is None else np.asarray(head.centers, np.float32)
    if centers is None or centers.ndim != 3 or centers.shape[1] < 2:
        received = "no head" if head is None else type(head).__name__
        shape = "" if centers is None else f" with centers of shape {centers.shape}"
        raise ValueError(
            "Cleaning needs a head with at least 2 sub-centers for each identity, such as "
            f"SubCenterArcFace. Received: {received}{shape}"
        )
    return centers


def valley(angles: np.ndarray) -> tuple[float, float]:
    """The cut that puts angles into two groups, each as much alike as can be (Otsu, 1979).

    It maximises w₁w₂(μ₁ − μ₂)², w the groups' shares and μ their means. Returned are the cut in
    degrees, halfway between the two groups, and how far these are apart by Ashman's D = √2·(μ₂ −
    μ₁)/√(σ₁² + σ₂²); (NaN, 0) where all angles are the same. NaN angles are left out.
    """
    sorted_angles = np.sort(angles[~np.isnan(angles)])
    count = len(sorted_angles)
    if not count or sorted_angles[0] == sorted_angles[-1]:
        return float("nan"), 0.0
    below = np.arange(1, count)
    sums = np.cumsum(sorted_angles)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / (count - below)
    between = below * (count - below) * (means[1] - means[0]) ** 2
    # Equal angles must not be parted.
    between[sorted_angles[1:] == sorted_angles[:-1]] = -1
    place = int(np.argmax(between))
    low, high = sorted_angles[: place + 1], sorted_angles[place + 1 :]
    spread = np.sqrt(low.var() + high.var())
    distance = np.sqrt(2) * (high.mean() - low.mean())
    separation = float(distance / spread) if spread > 0 else float("inf")
    return float((low[-1] + high[0]) / 2), separation


def automatic_angle(angles: np.ndarray) -> tuple[float, str]:
    """The valley where the angles make two heaps, else the paper's 75°, and a line that says so.

    With few wrong labels, or none, the valley of a single heap would cut right labels away.
    """
    cut, separation = valley(angles)
    if separation >= LEAST_SEPARATION:
        return cut, f"The angles make two heaps (separation {separation:.1f}): cut at {cut:.1f}°."
    return PAPER_ANGLE, (
        f"The angles make one heap (separation {separation:.1f}, below {LEAST_SEPARATION:g}): "
        f"cut at {PAPER_ANGLE:g}°."
    )
