"""Blocks of rows that NumPy or FAISS searches in one step."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.column import decode

# Number of probes per product in NumPy. Their cosines with a block take 16 MiB.
PROBES = 64
# NumPy's search divides a row of cosines into this number of runs per requested candidate, and
# compares the largest value of each run.
_RUNS = 32
# Settings of FAISS during a search. A tile of cosines takes 16 MiB, the same as with its defaults.
_TILES = {
    "distance_compute_blas_threshold": 1,
    "distance_compute_blas_query_bs": 256,
    "distance_compute_blas_database_bs": 16_384,
}
# Number of threads that search with these settings, and the settings before the first of them.
_SEARCHING = threading.Lock()
_searches = 0
_usual: dict[str, int] = {}

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class RowBlock:
    """Consecutive rows of an index, with embedding (N, D) and group feature (N, G) as stored."""

    def __init__(
        self,
        names: list[str],
        photos: npt.NDArray[np.int32],
        embedding: npt.NDArray[Any],
        group_feature: npt.NDArray[Any] | None,
    ):
        self._names, self._photos = names, photos
        self._embedding, self._group_feature = embedding, group_feature
        self._sketched: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def nearest(self, probes: Floats, count: int) -> tuple[Floats, Integers]:
        rows = self._directions
        try:
            import faiss
        except ImportError:
            return nearest_by_numpy(probes, rows, count)
        probes = np.ascontiguousarray(probes, np.float32)
        with _by_blas(faiss):
            return faiss.knn(probes, rows, count, metric=faiss.METRIC_INNER_PRODUCT)

    def above(self, probes: Floats, least: Floats) -> Iterator[tuple[Integers, Integers, Floats]]:
        # FAISS' range search has one radius for all probes, but each probe needs its own.
        cosine = probes @ self._directions.T
        found = np.flatnonzero(cosine >= least[:, None])
        yield *np.divmod(found, len(self)), cosine.reshape(-1)[found]

    @functools.cached_property
    def _directions(self) -> Floats:
        return _decoded(self._embedding)

    def sketches(self, projection: Floats) -> Floats:
        if self._sketched is None or self._sketched[0] is not projection:
            assert self._group_feature is not None
            self._sketched = projection, _decoded(self._group_feature) @ projection
        return self._sketched[1]

    def embedding(self, rows: Integers) -> Floats:
        return decode(self._embedding[rows])

    def group_feature(self, rows: Integers) -> Floats | None:
        return None if self._group_feature is None else decode(self._group_feature[rows])

    def names(self, rows: Integers) -> list[str]:
        return [self._names[row] for row in rows.tolist()]

    def photos(self, rows: Integers) -> npt.NDArray[np.int32]:
        return self._photos[rows]


def _decoded(kept: npt.NDArray[Any]) -> Floats:
    """Returns stored rows as directions. float32 rows are returned as they are."""
    return kept if kept.dtype == np.float32 else decode(kept)


def nearest_by_numpy(probes: Floats, rows: Floats, count: int) -> tuple[Floats, Integers]:
    """Finds the largest dot products of probes, (P, D), with rows, (N ≥ count, D).

    Returns (P, count) products, the largest first, and (P, count) row numbers.
    """
    products = np.empty((len(probes), count), np.float32)
    numbers = np.empty((len(probes), count), np.int64)
    # The starts of the runs. The `count`-th largest of the runs' maxima is a lower bound of the
    # `count`-th largest product, because at least `count` products reach it.
    runs = np.linspace(0, len(rows), min(len(rows), _RUNS * count), endpoint=False, dtype=np.int64)
    for start in range(0, len(probes), PROBES):
        some = probes[start : start + PROBES] @ rows.T
        largest = np.maximum.reduceat(some, runs, axis=1)
        # Few products reach the bound. Sorting them is faster than partitioning all products.
        bound = np.partition(largest, len(runs) - count, axis=1)[:, len(runs) - count]
        for probe, (row, least) in enumerate(zip(some, bound, strict=True), start):
            near = np.flatnonzero(row >= least)
            near = near[np.argsort(-row[near], kind="stable")[:count]]
            products[probe], numbers[probe] = row[near], near
    return products, numbers


@contextlib.contextmanager
def _by_blas(faiss: Any) -> Iterator[None]:
    """Makes FAISS use matrix products in a few large tiles, for any number of probes.

    For fewer than 250 probes of 512 dimensions, FAISS 1.15 uses a kernel that takes five times as
    long. With its tiles of 1024 rows, its threads wait for each other 64 times per block. This
    takes three times as long if other processes use the cores. The settings belong to the process
    and change only the speed.
    """
    global _searches
    with _SEARCHING:
        # The first of several threads changes the settings, and the last one restores them.
        if not _searches:
            _usual.update({name: getattr(faiss.cvar, name) for name in _TILES})
            for name, value in _TILES.items():
                setattr(faiss.cvar, name, value)
        _searches += 1
    try:
        yield
    finally:
        with _SEARCHING:
            _searches -= 1
            if not _searches:
                for name, value in _usual.items():
                    setattr(faiss.cvar, name, value)
