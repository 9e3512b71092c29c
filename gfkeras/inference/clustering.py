"""Clustering of embeddings by person."""

import numpy as np
import numpy.typing as npt

from gfkeras.errors import one_of, positive_int, require, wrong
from gfkeras.evaluation.similarity import unit
from gfkeras.evaluation.thresholds import check_threshold

Rows = npt.NDArray[np.float32]
Nodes = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int64]

METHODS = ("dbscan", "hdbscan")
# Number of faces that are compared with all others in one product.
_BLOCK = 2048


def cluster_faces(
    embedding: Rows, threshold: float = 0.5, method: str = "dbscan", min_faces: int = 2
) -> Labels:
    """Groups faces, (N, D), by person. Returns (N,) int64, the cluster of each face.

    The largest cluster is 0. Faces without a cluster have −1. For "dbscan", `threshold` is the
    smallest cosine between two neighbours (its eps is 1 − threshold), and neighbours of neighbours
    are in the same cluster. A threshold that is too low therefore joins thousands of people in one
    cluster, and this happens sooner with more faces. 0.5 is best on LFW. "hdbscan" finds a distance
    for each cluster (extra `sklearn`). `min_faces` neighbours, including the face itself, make a
    cluster. Raises ValueError if an argument is out of range or not finite.
    """
    one_of("method", method, METHODS)
    check_threshold(threshold)
    positive_int("min_faces", min_faces)
    if embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise wrong("embedding", "have finite numbers of shape (N, D)", f"shape {embedding.shape}")
    rows = unit(embedding)
    if method == "dbscan":
        return _by_size(_dbscan(rows, threshold, min_faces))
    # scikit-learn raises an error for fewer faces than one cluster needs.
    if len(rows) < 2 or len(rows) < min_faces:
        return np.full(len(rows), -1, np.int64)
    scan = require("sklearn.cluster", "sklearn").HDBSCAN(
        min_cluster_size=max(2, min_faces), copy=True
    )
    return _by_size(np.asarray(scan.fit(rows).labels_, np.int64))


def _dbscan(rows: Rows, threshold: float, min_faces: int) -> Labels:
    """Returns the cluster number of each face, −1 for no cluster, like scikit-learn's DBSCAN.

    Faces with at least `min_faces` neighbours, including themselves, are cores. Neighbouring cores
    share a cluster. Another face joins the first cluster that contains one of its neighbours.
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
    """Returns each pair of neighbours once. The N² distances are never in memory together."""
    first = [np.zeros(0, np.int32)]
    second = [np.zeros(0, np.int32)]
    for start in range(0, len(rows), _BLOCK):
        near = rows[start : start + _BLOCK] @ rows[start:].T >= threshold
        left, right = np.nonzero(np.triu(near, 1))
        first.append((left + start).astype(np.int32))
        second.append((right + start).astype(np.int32))
    return np.concatenate(first), np.concatenate(second)


def _components(first: Nodes, second: Nodes, count: int) -> Labels:
    """Returns the smallest node that is connected to each of `count` nodes, or the node itself."""
    label = np.arange(count)
    while True:
        one, other = label[first], label[second]
        apart = one != other
        if not apart.any():
            return label
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        # Following each label to its end reduces the number of rounds.
        while (label != label[label]).any():
            label = label[label]


def _by_size(labels: Labels) -> Labels:
    """Numbers the clusters by size, the largest first, and equal sizes by their first face."""
    numbers, first, counts = np.unique(labels, return_index=True, return_counts=True)
    kept = numbers >= 0
    numbers, first, counts = numbers[kept], first[kept], counts[kept]
    order = np.lexsort((first, -counts))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, np.int64)
    renamed[numbers[order]] = np.arange(len(order))
    return renamed[labels]
