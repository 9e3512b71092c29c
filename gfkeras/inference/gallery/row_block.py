"""Rows of an index that are searched at once, by NumPy or FAISS."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.column import decode

# Probes whose cosines NumPy holds at once: 16 MiB of a block.
PROBES = 64
# Of a row of cosines, runs whose largest are compared for each candidate that is asked for.
_RUNS = 32
# FAISS' settings while we search; a tile of cosines takes 16 MiB, as with its own ones.
_TILES = {
    "distance_compute_blas_threshold": 1,
    "distance_compute_blas_query_bs": 256,
    "distance_compute_blas_database_bs": 16_384,
}
# How many threads search by these settings, and what they were before.
_SEARCHING = threading.Lock()
_searches = 0
_usual: dict[str, int] = {}

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class RowBlock:
    """Rows that follow each other in an index; embedding (N, D), group feature (N, G) as kept."""

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
        return _nearest_rows()(probes, self._directions, count)

    def above(self, probes: Floats, least: Floats) -> Iterator[tuple[Integers, Integers, Floats]]:
        # FAISS can ask for one radius for all probes, not for one each.
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
    """Kept rows as directions: themselves where they are float32."""
    return kept if kept.dtype == np.float32 else decode(kept)


def _nearest_rows() -> Callable[[Floats, Floats, int], tuple[Floats, Integers]]:
    """FAISS' search where it is installed, NumPy's otherwise."""
    try:
        import faiss
    except ImportError:
        return nearest_by_numpy
    return functools.partial(_nearest_by_faiss, faiss)


def nearest_by_numpy(probes: Floats, rows: Floats, count: int) -> tuple[Floats, Integers]:
    """The largest dot products of probes (P, D) with rows (N ≥ count, D), some probes at a time.

    Returns (P, count) products, largest first, and (P, count) row numbers.
    """
    products = np.empty((len(probes), count), np.float32)
    numbers = np.empty((len(probes), count), np.int64)
    # Where runs of a row begin; of so many, `count` reach the bound below.
    runs = np.linspace(0, len(rows), min(len(rows), _RUNS * count), endpoint=False, dtype=np.int64)
    for start in range(0, len(probes), PROBES):
        some = probes[start : start + PROBES] @ rows.T
        largest = np.maximum.reduceat(some, runs, axis=1)
        # Few products reach it, and sorting those is faster than partitioning all.
        bound = np.partition(largest, len(runs) - count, axis=1)[:, len(runs) - count]
        for probe, (row, least) in enumerate(zip(some, bound, strict=True), start):
            near = np.flatnonzero(row >= least)
            near = near[np.argsort(-row[near], kind="stable")[:count]]
            products[probe], numbers[probe] = row[near], near
    return products, numbers


def _nearest_by_faiss(
    faiss: Any, probes: Floats, rows: Floats, count: int
) -> tuple[Floats, Integers]:
    with _by_blas(faiss):
        return faiss.knn(
            np.ascontiguousarray(probes, np.float32), rows, count, metric=faiss.METRIC_INNER_PRODUCT
        )


@contextlib.contextmanager
def _by_blas(faiss: Any) -> Iterator[None]:
    """FAISS by matrix products, however few probes there are, in few large tiles.

    For fewer than 250 probes of 512 dimensions FAISS 1.15 takes a kernel that was measured to take
    five times as long. Its tiles of 1024 rows make its threads wait for each other 64 times in a
    block: three times as long where other processes took the cores. The settings are the process's;
    they change nothing but speed.
    """
    global _searches
    with _SEARCHING:
        # The first of several threads sets them, and the last one sets them back.
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
