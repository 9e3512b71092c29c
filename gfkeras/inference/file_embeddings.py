"""What an Embedder returns for files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class FileEmbeddings:
    """The embeddings of those M files of a list that could be read.

    Attributes:
        embedding: (M, D) float32, L2-normalised.
        group_feature: (M, 256) float32, or None for a network without groups.
        group: (M,) int32, or None.
        index: (M,) int64, position in the list of each file read, ascending; once for each face
            where a file gave several.
        skipped: (file, reason) of the others.
        norm: (M,) float32, length of each embedding before it was normalised.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None
    group: np.ndarray | None
    index: np.ndarray
    skipped: list[tuple[Path, str]]
    norm: np.ndarray | None = None
