"""What an Embedder returns for images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of N images; what a network without groups lacks is None.

    Attributes:
        embedding: (N, D) float32, L2-normalised.
        group_feature: v̂, (N, 256) float32, not normalised.
        group: (N,) int32, the group of the largest probability.
        group_logits: (N, K) float32.
        norm: (N,) float32, length of the embedding before it was normalised; a low one goes
            with a poor image.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None = None
    group: np.ndarray | None = None
    group_logits: np.ndarray | None = None
    norm: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embedding)
