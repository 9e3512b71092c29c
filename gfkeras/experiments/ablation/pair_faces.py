"""The images of a list of pairs, decoded once for all networks."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.data.images import IMAGE_SIZE, ImageError, read_image
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
        def decode(path: Path) -> np.ndarray | ImageError:
            try:
                return read_image(path)
            except ImageError as error:
                return error

        images = np.empty((len(self.files), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        index: list[int] = []
        skipped: list[tuple[Path, str]] = []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for position, found in enumerate(pool.map(decode, self.files)):
                if isinstance(found, ImageError):
                    skipped.append((self.files[position], found.reason))
                else:
                    images[len(index)] = found
                    index.append(position)
        return images[: len(index)], np.asarray(index, np.int64), skipped
