"""Dominant sub-centers, the angles of images to them, the cut, and artificial label noise."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.errors import in_range
from gfkeras.inference import Embedder
from gfkeras.models import FaceClassifier

Progress = Callable[[str, int, int | None], None]
# Images decoded and embedded together, 40 MB of pixels.
_CHUNK = 1024
PAPER_ANGLE = 75.0
# Two halves of one normal distribution have a separation of 2.65. Right and wrong labels have 3.2
# to 4.2 on ORL, with 6 to 40 % of the labels wrong.
LEAST_SEPARATION = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class DominantCenters:
    """The dominant sub-center of each of C identities, and the angle of each of N images to it.

    `counts` (C, K) int64 are the images of each identity nearest to each of its centers, `dominant`
    (C,) is the center with most images, 0 without images, and `share` (C,) its share of them, NaN
    without images. `angles` (N,) are in degrees.
    """

    counts: np.ndarray
    dominant: np.ndarray
    share: np.ndarray
    angles: np.ndarray


def own_cosines(embeddings: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns cos θ (N, K) float64 of images (N, D) to their identities' centers (C, K, D)."""
    return np.einsum("nd,nkd->nk", unit(embeddings), unit(centers)[labels])


def dominant_centers(cosines: np.ndarray, labels: np.ndarray, num_classes: int) -> DominantCenters:
    """Finds the dominant centers from the cosines (N, K) of `own_cosines`.

    An image belongs to its nearest center. The center with most images is dominant. Small
    identities often have ties, unlike those in the paper. The tie goes to the center with the
    highest mean cosine to all images of the identity. Cosines are NaN for unreadable images.
    """
    labels = np.asarray(labels)
    # Unreadable images must not count for any center.
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
    # An identity without images gives 0 / 0, the documented NaN.
    with np.errstate(invalid="ignore"):
        share = counts[np.arange(num_classes), dominant] / total
    cosine = cosines[np.arange(len(labels)), dominant[labels]]
    return DominantCenters(counts, dominant, share, np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def nearest_others(
    embeddings: np.ndarray, labels: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest other identity of each image (N, D), and the angle to it in degrees.

    Both results are (N,). `labels` (N,) are the images' own identities, which are left out.
    `centers` (C, D) are the dominant centers, C ≥ 2.
    """
    cosines = unit(embeddings) @ unit(centers).T
    rows = np.arange(len(labels))
    cosines[rows, labels] = -np.inf
    found = np.argmax(cosines, axis=1)
    return found, np.degrees(np.arccos(np.clip(cosines[rows, found], -1, 1)))


def unit(rows: np.ndarray) -> np.ndarray:
    """Returns vectors along the last axis with length 1, float64. Zero vectors stay zero."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


class Measuring:
    """A classifier with sub-centers, and the faces that it was trained on.

    Images are read when they are needed, and embeddings are not kept. A million records therefore
    take no more memory than a thousand.
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
        """Returns the dominant centers and the angles to them. NaN for unreadable images."""
        cosines = np.full((len(self.faces), self.centers.shape[1]), np.nan)
        for rows, embedding in self._embedded(np.arange(len(self.faces)), "Measuring angles"):
            cosines[rows] = own_cosines(embedding, self.labels[rows], self.centers)
        return dominant_centers(cosines, self.labels, len(self.centers))

    def nearest_others(
        self, rows: np.ndarray, dominant: DominantCenters
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the nearest other identity of some images, and the angle to it in degrees."""
        centers = self.centers[np.arange(len(self.centers)), dominant.dominant]
        # The centers of an identity without images are random, so nothing may be near them.
        centers[dominant.counts.sum(axis=1) == 0] = 0
        found = np.full(len(self.faces), -1)
        angles = np.full(len(self.faces), np.nan)
        for chosen, embedding in self._embedded(rows, "Looking for likenesses"):
            found[chosen], angles[chosen] = nearest_others(embedding, self.labels[chosen], centers)
        return found[rows], angles[rows]

    def _embedded(self, rows: np.ndarray, what: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields readable rows and their embeddings, in chunks."""
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
    """Returns the centers of the head, (C, K, D) float32. Raises ValueError if K is below 2."""
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
    """Returns the cut that splits angles into the two most compact groups (Otsu, 1979).

    It maximises w₁w₂(μ₁ − μ₂)², where w are the groups' shares and μ their means. Returns the cut
    in degrees, halfway between the groups, and their separation, Ashman's D = √2·(μ₂ − μ₁)/√(σ₁² +
    σ₂²). If all angles are equal, it returns (NaN, 0). NaN angles are left out.
    """
    sorted_angles = np.sort(angles[~np.isnan(angles)])
    count = len(sorted_angles)
    if not count or sorted_angles[0] == sorted_angles[-1]:
        return float("nan"), 0.0
    below = np.arange(1, count)
    sums = np.cumsum(sorted_angles)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / (count - below)
    # The factor 1 / count² of Otsu's formula is the same for all cuts, so it is left out.
    between = below * (count - below) * (means[1] - means[0]) ** 2
    # Never cut between equal angles.
    between[sorted_angles[1:] == sorted_angles[:-1]] = -1
    place = int(np.argmax(between))
    low, high = sorted_angles[: place + 1], sorted_angles[place + 1 :]
    spread = np.sqrt(low.var() + high.var())
    distance = np.sqrt(2) * (high.mean() - low.mean())
    separation = float(distance / spread) if spread > 0 else float("inf")
    return float((low[-1] + high[0]) / 2), separation


def automatic_angle(angles: np.ndarray) -> tuple[float, str]:
    """Returns the valley if the angles have two peaks, else the paper's 75°, and a note about it.

    With few or no wrong labels there is one peak. Its valley would drop right labels.
    """
    cut, separation = valley(angles)
    if separation >= LEAST_SEPARATION:
        return cut, f"The angles form two heaps (separation {separation:.1f}): cut at {cut:.1f}°."
    return PAPER_ANGLE, (
        f"The angles form one heap (separation {separation:.1f}, below {LEAST_SEPARATION:g}): "
        f"cut at {PAPER_ANGLE:g}°."
    )


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
