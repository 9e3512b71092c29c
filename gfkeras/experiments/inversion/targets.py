"""Whom the images are to show: embeddings, and the class centers that they stand among."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Targets:
    """One embedding for each face to generate.

    Attributes:
        names: N of them.
        embedding: (N, D) float32, unit rows after construction.
        centers: (C, D), of all classes, for the close-set form (the ArcFace loss); None for
            the open-set form (a distance to `embedding`).
        labels: (N,) int32, the row of each target in `centers`.

    Raises:
        ValueError: for shapes that do not fit, labels outside of the centers, embeddings that are
            zero or not finite.
    """

    names: list[str]
    embedding: np.ndarray
    centers: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        embedding = np.asarray(self.embedding, np.float32)
        if embedding.ndim != 2 or not len(embedding) or len(embedding) != len(self.names):
            raise ValueError(
                f"`embedding` must be ({len(self.names)}, D), a row for each name. "
                f"Received: a shape of {embedding.shape}"
            )
        object.__setattr__(self, "embedding", unit("embedding", embedding))
        if (self.centers is None) != (self.labels is None):
            raise ValueError("`centers` and `labels` must be given together. Received: one of them")
        if self.centers is None or self.labels is None:
            return
        centers, labels = np.asarray(self.centers, np.float32), np.asarray(self.labels, np.int32)
        if centers.ndim != 2 or centers.shape[1] != embedding.shape[1]:
            raise ValueError(
                f"`centers` must be (C, {embedding.shape[1]}), one for each class. "
                f"Received: a shape of {centers.shape}"
            )
        if labels.shape != (len(embedding),) or labels.min() < 0 or labels.max() >= len(centers):
            raise ValueError(
                f"`labels` must be {len(embedding)} rows of the {len(centers)} centers. "
                f"Received: labels={labels.tolist()}"
            )
        object.__setattr__(self, "centers", unit("centers", centers))
        object.__setattr__(self, "labels", labels)

    @classmethod
    def of_classes(cls, names: list[str], labels: np.ndarray, centers: np.ndarray) -> Targets:
        """The close-set form: rows of the class centers."""
        labels = np.asarray(labels, np.int32)
        return cls(names, np.asarray(centers)[labels], centers, labels)

    def repeated(self, copies: int) -> Targets:
        """All of them so many times, one after the other."""
        labels = None if self.labels is None else np.tile(self.labels, copies)
        return Targets(
            self.names * copies, np.tile(self.embedding, (copies, 1)), self.centers, labels
        )

    def require_dimension(self, dimension: int) -> None:
        """Raises ValueError if these cannot be embeddings of a model of that width."""
        if self.embedding.shape[1] != dimension:
            raise ValueError(
                f"`targets` must have the {dimension} numbers of the model's embedding. "
                f"Received: {self.embedding.shape[1]}, which another model must have made"
            )


def unit(name: str, vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; raises ValueError for one that has no direction."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise ValueError(
            f"`{name}` must be finite and not zero. Received: row {bad[0]} with norm "
            f"{norms[bad[0], 0]}"
        )
    return (vectors / norms).astype(np.float32)
