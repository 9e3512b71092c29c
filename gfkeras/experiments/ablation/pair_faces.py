"""The images of a list of pairs, decoded once for all networks."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gfkeras.data.images import IMAGE_SIZE, ImageError, read_image
from gfkeras.evaluation import PairList
from gfkeras.experiments.ablation.scoring import pairs_fingerprint


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
