"""Embeddings in the plane, and how well people lie apart in the space that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Projection:
    """Embeddings of known people, drawn in the plane by t-SNE.

    Attributes:
        points: (N, 2) float32; distances between far points mean nothing.
        silhouette: mean silhouette by cosine distance of the embeddings themselves, from −1 to 1.
        nearest: share of the images whose nearest other image shows the same person.
    """

    points: np.ndarray
    silhouette: float
    nearest: float

    def to_json(self) -> dict[str, Any]:
        """Everything, `nearest` as "nearest_same"."""
        return {
            "silhouette": self.silhouette,
            "nearest_same": self.nearest,
            "points": self.points.tolist(),
        }


def project(
    embedding: npt.ArrayLike,
    labels: npt.ArrayLike,
    perplexity: float | None = None,
    seed: int = 0,
) -> Projection:
    """t-SNE (van der Maaten and Hinton, 2008) of L2-normalised embeddings, by scikit-learn.

    Of normalised embeddings the squared distance is 2 − 2 cos. t-SNE starts from the principal
    components, and the same arguments give the same points.

    Args:
        embedding: (N, D) float, of any length.
        labels: (N,) who each shows.
        perplexity: about how many neighbours count; 30, and a third of N − 1 of few images.
        seed: of t-SNE.

    Raises:
        ValueError: for fewer than two people, fewer than four images, nobody with two, other
            shapes, or a perplexity that is not positive and below N.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    rows = np.asarray(embedding, np.float64)
    who = np.asarray(labels)
    if rows.ndim != 2 or who.shape != (len(rows),):
        raise ValueError(
            "`embedding` must be (N, D) and `labels` (N,). "
            f"Received: shapes {rows.shape} and {who.shape}"
        )
    if len(rows) < 4 or not 2 <= len(np.unique(who)) < len(rows):
        raise ValueError(
            "`labels` must be those of four images or more of two people or more, one of them "
            f"with two images at least. Received: {len(rows)} images of {len(np.unique(who))}"
        )
    if perplexity is None:
        perplexity = min(30.0, (len(rows) - 1) / 3)
    if not 0 < perplexity < len(rows):
        raise ValueError(
            f"`perplexity` must be positive and below the {len(rows)} images. "
            f"Received: perplexity={perplexity}"
        )
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return Projection(
        points=points.astype(np.float32),
        silhouette=float(silhouette_score(unit, who, metric="cosine")),
        nearest=float(np.mean(who[cosines.argmax(axis=1)] == who)),
    )
