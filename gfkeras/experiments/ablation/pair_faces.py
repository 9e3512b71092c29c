"""The images of a list of pairs, decoded once for all networks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.data.decoding import decode_files
from gfkeras.evaluation import PairList
from gfkeras.experiments.ablation.scoring import pairs_fingerprint


@dataclass(frozen=True, eq=False)
class MeasuredPairs:
    """P pairs by the rows of their images.

    Attributes:
        first, second: (P,) int64, places in `PairFaces.images`.
        same: (P,) true for genuine pairs.
        fold: (P,) int64.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray


class PairFaces:
    """Pairs, and the images of their files in memory.

    Args:
        pairs: of aligned faces.

    Attributes:
        files: every distinct file of the pairs.
    """

    def __init__(self, pairs: PairList):
        self.pairs = pairs
        self.files = pairs.files()

    @functools.cached_property
    def fingerprint(self) -> str:
        """Names the pairs."""
        return pairs_fingerprint(self.pairs)

    @property
    def images(self) -> np.ndarray:
        """(M, 112, 112, 3) uint8 of those files that could be read."""
        return self._decoded[0]

    @property
    def index(self) -> np.ndarray:
        """(M,) int64, the position of each image in `files`."""
        return self._decoded[1]

    @property
    def skipped(self) -> list[tuple[Path, str]]:
        """(file, reason) of the others."""
        return self._decoded[2]

    @functools.cached_property
    def measured(self) -> MeasuredPairs:
        """The pairs of which both files could be read.

        Raises:
            ValueError: where there are none.
        """
        row = np.full(len(self.files), -1, np.int64)
        row[self.index] = np.arange(len(self.index))
        position = {path: place for place, path in enumerate(self.files)}
        first = row[[position[path] for path in self.pairs.first]]
        second = row[[position[path] for path in self.pairs.second]]
        readable = (first >= 0) & (second >= 0)
        if not readable.any():
            raise ValueError(
                f"None of the {len(self.pairs)} pairs could be measured: "
                f"{len(self.skipped)} of {len(self.files)} files could not be read"
            )
        return MeasuredPairs(
            first[readable],
            second[readable],
            self.pairs.same[readable],
            self.pairs.fold[readable],
        )

    @functools.cached_property
    def _decoded(self) -> tuple[np.ndarray, np.ndarray, list[tuple[Path, str]]]:
        images, kept, skipped = decode_files(self.files)
        return images, np.asarray(kept, np.int64), skipped
