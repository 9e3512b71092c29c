"""Clusters of embeddings: faces without names, grouped by person."""

import numpy as np
import numpy.typing as npt

from gfkeras.errors import one_of, positive_int, require
from gfkeras.evaluation.similarity import unit
from gfkeras.evaluation.thresholds import check_threshold

Rows = npt.NDArray[np.float32]
Nodes = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int64]

METHODS = ("dbscan", "hdbscan")
# Faces compared with all others at once.
_BLOCK = 2048


def cluster_faces(
    embedding: Rows, threshold: float = 0.5, method: str = "dbscan", min_faces: int = 2
) -> Labels:
    """Groups faces by person: (N,) int64, each face's cluster, the largest 0; −1 for none.

    Args:
        embedding: (N, D), normalised or not.
        threshold: cosine from which two faces are neighbours (DBSCAN's eps is 1 − threshold); of
            "dbscan" only. Chains of neighbours join: too low a threshold makes one cluster of
            thousands of people, and the more faces, the sooner. 0.5 is best on LFW.
        method: "dbscan", or "hdbscan", which finds a distance for each cluster (extra `sklearn`).
        min_faces: neighbours that make a cluster, the face itself included.

    Raises:
        ValueError: for arguments out of range, and embeddings that are not finite.
    """
    one_of("method", method, METHODS)
    check_threshold(threshold)
    positive_int("min_faces", min_faces)
    if embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise ValueError("`embedding` must be (N, D) finite numbers.")
    rows = unit(embedding)
    if method == "dbscan":
        return _by_size(_dbscan(rows, threshold, min_faces))
    if len(rows) < 2 or len(rows) < min_faces:
        return np.full(len(rows), -1, np.int64)
    scan = require("sklearn.cluster", "sklearn").HDBSCAN(
        min_cluster_size=max(2, min_faces), copy=True
    )
    return _by_size(np.asarray(scan.fit(rows).labels_, np.int64))


def _dbscan(rows: Rows, threshold: float, min_faces: int) -> Labels:
    """A number for each cluster, −1 for faces in none: as scikit-learn's DBSCAN finds them.

    Faces with at least `min_faces` neighbours, themselves included, are cores. Neighbouring cores
    share a cluster; other faces join the first cluster that has a neighbour.
    """
    count = len(rows)
    first, second = _neighbours(rows, threshold)
    both = np.concatenate([first, second])
    core = 1 + np.bincount(both, minlength=count) >= min_faces
    joined = core[first] & core[second]
    label = np.where(core, _components(first[joined], second[joined], count), count)
    edges = np.concatenate([second, first])
    border = ~core[both] & core[edges]
    np.minimum.at(label, both[border], label[edges[border]])
    return np.where(label < count, label, -1)


def _neighbours(rows: Rows, threshold: float) -> tuple[Nodes, Nodes]:
    """The pairs that are near enough, each once: not N² distances."""
    first = [np.zeros(0, np.int32)]
    second = [np.zeros(0, np.int32)]
    for start in range(0, len(rows), _BLOCK):
        near = rows[start : start + _BLOCK] @ rows[start:].T >= threshold
        left, right = np.nonzero(np.triu(near, 1))
        first.append((left + start).astype(np.int32))
        second.append((right + start).astype(np.int32))
    return np.concatenate(first), np.concatenate(second)


def _components(first: Nodes, second: Nodes, count: int) -> Labels:
    """For each of `count` nodes the smallest one that edges lead to, itself included."""
    label = np.arange(count)
    while True:
        one, other = label[first], label[second]
        apart = one != other
        if not apart.any():
            return label
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        # Each node points at the smallest that is known to its own smallest.
        while (label != label[label]).any():
            label = label[label]


def _by_size(labels: Labels) -> Labels:
    """The same clusters, numbered from the largest on; equal ones by their first face."""
    numbers, first, counts = np.unique(labels, return_index=True, return_counts=True)
    kept = numbers >= 0
    numbers, first, counts = numbers[kept], first[kept], counts[kept]
    order = np.lexsort((first, -counts))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, np.int64)
    renamed[numbers[order]] = np.arange(len(order))
    return renamed[labels]
