"""Results of an `Embedder`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of N images.

    For a network without groups, the attributes of groups are None.

    Attributes:
        embedding: (N, D) float32, L2-normalised.
        group_feature: v̂, (N, 256) float32, not normalised.
        group: (N,) int32, the group with the largest probability.
        group_logits: (N, K) float32.
        norm: (N,) float32, length before normalising. Poor images tend to have a low norm.
        model: fingerprint of the model (`Embedder.fingerprint`), which a `Gallery` checks.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None = None
    group: np.ndarray | None = None
    group_logits: np.ndarray | None = None
    norm: np.ndarray | None = None
    model: str | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, rows: Any) -> Embeddings:
        """Returns the embeddings at positions `rows`, or where a mask is true."""
        chosen: list[Any] = [None if column is None else column[rows] for column in self._columns()]
        return dataclasses.replace(Embeddings(*chosen), model=self.model)

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Concatenates embeddings of one network."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        joined: list[Any] = [
            None if values[0] is None else np.concatenate(values) for values in columns
        ]
        return dataclasses.replace(cls(*joined), model=parts[0].model)

    def _columns(self) -> tuple[np.ndarray | None, ...]:
        return self.embedding, self.group_feature, self.group, self.group_logits, self.norm


@dataclass(frozen=True, slots=True)
class FileEmbeddings:
    """The embeddings of the files in a list that could be read (see `Embeddings`).

    Attributes:
        index: (M,) int64, position in the list of each face's file, ascending. A file with several
            faces is repeated.
        skipped: (file, reason) of the other files.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None
    group: np.ndarray | None
    index: np.ndarray
    skipped: list[tuple[Path, str]]
    norm: np.ndarray | None = None
    model: str | None = None
