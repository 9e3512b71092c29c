"""Cosine and group-aware similarity of NumPy arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import in_range, one_of, positive

DISTANCES = ("l2", "squared-l2", "cosine")

Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Similarity:
    """S* = cos(v̄_a, v̄_b) − β·D(v̂_a, v̂_b)^γ (arXiv 2005.10497, section 3.4).

    It returns the same numbers as `gfkeras.group_aware_similarity`, but for arrays and without a
    Keras backend. With β = 0 (`COSINE`) group features are ignored.

    Args:
        beta: weight of the distance, at least 0, so S* never exceeds the cosine.
        gamma: exponent of the distance, above 0.
        distance: D of the L2-normalised group features: "l2", "squared-l2" or "cosine" (1 − cos).

    Example:
        scores = GROUP_AWARE(a.embedding, b.embedding, a.group_feature, b.group_feature)
    """

    beta: float = 0.1
    gamma: float = 1 / 3
    distance: str = "l2"

    def __post_init__(self) -> None:
        in_range("beta", self.beta, 0, math.inf)
        positive("gamma", self.gamma)
        one_of("distance", self.distance, DISTANCES)

    @property
    def group_aware(self) -> bool:
        """Whether group features count."""
        return self.beta > 0

    @property
    def least(self) -> float:
        """The smallest possible score: −1 for the cosine, less if group features count."""
        # Unit vectors are at most 2 apart, squared 4, and 1 − cos is at most 2.
        farthest = 4 if self.distance == "squared-l2" else 2
        return -1 - self.beta * farthest**self.gamma

    def __call__(
        self, embedding_a: Rows, embedding_b: Rows, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float32]:
        """Returns the score of each row of a with the same row of b, (N,) float32.

        Embeddings (N, D) and group features (N, G) need not be normalised. Group features may be
        None if β is 0. Raises ValueError if β is above 0 and they are None. An all-zero embedding
        has no direction, and its cosine is 0.
        """
        cosine = _dots(unit(embedding_a), unit(embedding_b))
        return cosine - self.penalties(group_a, group_b) if self.group_aware else cosine

    def penalties(self, group_a: Rows | None, group_b: Rows | None) -> npt.NDArray[np.float32]:
        """Returns β·D^γ row by row, (N,) float32, for group features (N, G)."""
        return self.penalty(self.distances(group_a, group_b))

    def distances(self, group_a: Rows | None, group_b: Rows | None) -> npt.NDArray[np.float32]:
        """Returns D row by row, (N,) float32, for group features (N, G)."""
        a, b = self._groups(group_a, group_b)
        if self.distance == "cosine":
            return 1 - _dots(a, b)
        # Use differences, not 2 − 2cos, which rounds to 0 or below for nearly equal features.
        difference = a - b
        apart = _dots(difference, difference)
        return np.sqrt(apart) if self.distance == "l2" else apart

    def matrix(
        self, embedding_a: Rows, embedding_b: Rows, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float32]:
        """Returns the scores of every row of a with every row of b, (A, B) float32.

        Matrix products make them accurate to 1e-6. The exception is nearly equal group features:
        there D is up to 1e-7 too large, and S* up to 5e-4 too small.
        """
        cosine = unit(embedding_a) @ unit(embedding_b).T
        if not self.group_aware:
            return cosine
        return cosine - self.penalty(self.distance_matrix(group_a, group_b))

    def distance_matrix(
        self, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float64]:
        """Returns D of every row of a with every row of b, (A, B), for group features (N, G)."""
        a, b = self._groups(group_a, group_b)
        # Float64, because in float32 the difference 1 − cos of nearly equal features has no correct
        # digit, and an exponent γ < 1 enlarges the error.
        apart = _exact_unit(a) @ _exact_unit(b).T
        np.subtract(1, apart, out=apart)
        if self.distance != "cosine":
            apart *= 2
        if self.distance == "l2":
            np.sqrt(np.maximum(apart, 0, out=apart), out=apart)
        return apart

    def penalty(self, apart: Rows) -> npt.NDArray[np.float32]:
        """Returns β·D^γ of distances of any shape. Clips distances that rounding made negative."""
        return (self.beta * np.maximum(apart, 0) ** self.gamma).astype(np.float32)

    def _groups(self, a: Rows | None, b: Rows | None) -> tuple[Rows, Rows]:
        if a is None or b is None:
            raise ValueError(
                "The group-aware similarity needs group features, which a network without groups "
                "does not have. Use the cosine (beta=0). Received: no group features"
            )
        return unit(a), unit(b)


COSINE = Similarity(beta=0.0)
GROUP_AWARE = Similarity()


def unit(rows: Rows) -> npt.NDArray[np.float32]:
    """Returns rows (N, D) as float32 of length 1. An all-zero row stays all zero."""
    rows = np.asarray(rows, np.float32)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    # Divide by the smallest float only, so normalised rows stay the same to the last bit or two.
    return rows / np.maximum(norm, np.finfo(np.float32).tiny)


def _exact_unit(rows: Rows) -> npt.NDArray[np.float64]:
    rows = rows.astype(np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(np.float64).tiny)


def _dots(a: Rows, b: Rows) -> npt.NDArray[np.float32]:
    return np.einsum("nd,nd->n", a, b)
