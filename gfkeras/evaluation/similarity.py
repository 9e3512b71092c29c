"""Cosine and group-aware similarity of arrays."""

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

    The same numbers as `gfkeras.group_aware_similarity`, for arrays, without a Keras backend.
    With β = 0, `COSINE`, group features are neither needed nor looked at.

    Args:
        beta: weight of the distance, at least 0, so that S* never exceeds the cosine.
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
        """The smallest score there can be: −1 by the cosine, less where group features count."""
        farthest = 4 if self.distance == "squared-l2" else 2
        return -1 - self.beta * farthest**self.gamma

    def __call__(
        self, embedding_a: Rows, embedding_b: Rows, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float32]:
        """Scores row by row, (N,) float32; embeddings (N, D) and group features (N, G) have any
        length.

        Group features may be None where β is 0, else that raises ValueError. An all-zero embedding,
        which has no direction, has the cosine 0.
        """
        cosine = _dots(unit(embedding_a), unit(embedding_b))
        return cosine - self.penalties(group_a, group_b) if self.group_aware else cosine

    def penalties(self, group_a: Rows | None, group_b: Rows | None) -> npt.NDArray[np.float32]:
        """β·D^γ row by row, (N,) float32, of group features (N, G)."""
        return self.penalty(self.distances(group_a, group_b))

    def distances(self, group_a: Rows | None, group_b: Rows | None) -> npt.NDArray[np.float32]:
        """D row by row, (N,) float32, of group features (N, G)."""
        a, b = self._groups(group_a, group_b)
        if self.distance == "cosine":
            return 1 - _dots(a, b)
        # Differences, not 2 − 2cos: for near features that would round to 0 or below.
        difference = a - b
        apart = _dots(difference, difference)
        return np.sqrt(apart) if self.distance == "l2" else apart

    def matrix(
        self, embedding_a: Rows, embedding_b: Rows, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float32]:
        """Scores of every row of a with every row of b, (A, B) float32.

        By matrix products, which are good to 1e-6, but for group features that agree: D is then
        found up to 1e-7 too large, and S* up to 5e-4 too small.
        """
        cosine = unit(embedding_a) @ unit(embedding_b).T
        if not self.group_aware:
            return cosine
        return cosine - self.penalty(self.distance_matrix(group_a, group_b))

    def distance_matrix(
        self, group_a: Rows | None, group_b: Rows | None
    ) -> npt.NDArray[np.float64]:
        """D of every row of a with every row of b, (A, B), of group features (N, G)."""
        a, b = self._groups(group_a, group_b)
        # In float64, for 1 − cos of near features keeps no digit of a float32, and γ < 1 enlarges
        # what is left.
        apart = _exact_unit(a) @ _exact_unit(b).T
        np.subtract(1, apart, out=apart)
        if self.distance != "cosine":
            apart *= 2
        if self.distance == "l2":
            np.sqrt(np.maximum(apart, 0, out=apart), out=apart)
        return apart

    def penalty(self, apart: Rows) -> npt.NDArray[np.float32]:
        """β·D^γ of distances, any shape; rounding may have taken a distance of 0 below it."""
        return (self.beta * np.maximum(apart, 0) ** self.gamma).astype(np.float32)

    def _groups(self, a: Rows | None, b: Rows | None) -> tuple[Rows, Rows]:
        if a is None or b is None:
            raise ValueError(
                "The group-aware similarity needs group features, which a network without groups "
                "does not have; use the cosine (beta=0). Received: no group features"
            )
        return unit(a), unit(b)


COSINE = Similarity(beta=0.0)
GROUP_AWARE = Similarity()


def unit(rows: Rows) -> npt.NDArray[np.float32]:
    """(N, D) rows as float32 of length 1; an all-zero row stays."""
    rows = np.asarray(rows, np.float32)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    # The smallest float, so that a row that comes normalised stays to the last bit or two.
    return rows / np.maximum(norm, np.finfo(np.float32).tiny)


def _exact_unit(rows: Rows) -> npt.NDArray[np.float64]:
    rows = rows.astype(np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(np.float64).tiny)


def _dots(a: Rows, b: Rows) -> npt.NDArray[np.float32]:
    return np.einsum("nd,nd->n", a, b)
