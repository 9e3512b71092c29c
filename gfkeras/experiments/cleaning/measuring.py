"""Angles of a data set's images to their identities' centers, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.experiments.cleaning.sub_centers import (
    DominantCenters,
    dominant_centers,
    nearest_others,
    own_cosines,
)
from gfkeras.inference import Embedder
from gfkeras.models import FaceClassifier

Progress = Callable[[str, int, int | None], None]

# Images decoded and embedded together: 40 MB of pixels.
_CHUNK = 1024


class Measuring:
    """A classifier with sub-centers, and the faces that it was trained on.

    Images are read as they are needed and embeddings are not kept, so that a million records take
    no more memory than a thousand.

    Args:
        classifier: whose head has centers (C, K, D), K ≥ 2.
        faces: the identities of which are those of the centers.
        progress: called with (what, done, total).

    Attributes:
        read: (N,) bool, false for records that cannot be read, known after `dominant`.

    Raises:
        ValueError: for a head without sub-centers.
    """

    def __init__(
        self,
        classifier: FaceClassifier,
        faces: Faces | RecordSet,
        progress: Progress | None = None,
    ):
        self.centers = sub_centers_of(classifier)
        self.faces = faces
        self.progress = progress
        self.labels = np.asarray(faces.labels)
        self.read = np.ones(len(faces), bool)
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
                self.read[chosen[~read]] = False
                chosen, images = chosen[read], images[read]
            if len(chosen):
                yield chosen, self._embedder(images).embedding
            if self.progress is not None:
                self.progress(what, min(start + _CHUNK, len(rows)), len(rows))


def sub_centers_of(classifier: FaceClassifier) -> np.ndarray:
    """The centers of the head, (C, K, D) float32.

    Raises:
        ValueError: for a head that has one center for each identity, or none.
    """
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
