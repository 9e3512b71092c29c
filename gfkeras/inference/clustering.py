"""Clusters of embeddings: faces without names, grouped by person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gfkeras.errors import in_range, one_of, positive_int
from gfkeras.evaluation.similarity import unit

METHODS = ("dbscan", "hdbscan")
# Faces compared with all others at once.
_BLOCK = 2048


def cluster_faces(
    embedding: npt.NDArray[np.float32],
    threshold: float = 0.5,
    method: str = "dbscan",
    min_faces: int = 2,
) -> npt.NDArray[np.int64]:
    """Groups faces by person: the number of each face's cluster, −1 for faces without one.

    Cluster 0 is the largest.

    Args:
        embedding: (N, D), normalised or not.
        threshold: cosine from which two faces are neighbours (DBSCAN's eps is 1 − threshold); of
            "dbscan" only. Chains of neighbours join: too low a threshold makes one cluster of
            thousands of people, and the more faces, the sooner. 0.5 is the best on LFW with the
            MS1M MobileFaceNet.
        method: scikit-learn's "dbscan", or "hdbscan", which finds a distance for each cluster by
            itself.
        min_faces: neighbours that make a cluster, the face itself included.

    Returns:
        (N,) int64.

    Raises:
        ValueError: for arguments out of range, and embeddings that are not finite.
    """
    one_of("method", method, METHODS)
    in_range("threshold", threshold, -1, 1)
    positive_int("min_faces", min_faces)
    if embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise ValueError("`embedding` must be (N, D) finite numbers.")
    rows = unit(embedding)
    if method == "hdbscan":
        from sklearn.cluster import HDBSCAN

        if len(rows) < 2 or len(rows) < min_faces:
            return np.full(len(rows), -1, np.int64)
        found = HDBSCAN(min_cluster_size=max(2, min_faces), copy=True).fit(rows).labels_
    else:
        from sklearn.cluster import DBSCAN

        if not len(rows):
            return np.zeros(0, np.int64)
        scan = DBSCAN(eps=1 - threshold, min_samples=min_faces, metric="precomputed")
        found = scan.fit(_neighbours(rows, threshold)).labels_
    return _by_size(np.asarray(found, np.int64))


def _neighbours(rows: npt.NDArray[np.float32], threshold: float) -> object:
    """Sparse distances 1 − cos of those pairs that are near enough: not N² of them."""
    from scipy.sparse import csr_array

    columns, distances, ends = [], [], [0]
    for start in range(0, len(rows), _BLOCK):
        cosine = rows[start : start + _BLOCK] @ rows.T
        near = cosine >= threshold
        # A face is its own neighbour, whatever rounding says.
        near[np.arange(len(near)), start + np.arange(len(near))] = True
        columns.append(np.nonzero(near)[1].astype(np.int32))
        # A stored 0 may be taken for nothing: equal faces are a little apart.
        distances.append(np.maximum(1 - cosine[near], 1e-7))
        ends += (ends[-1] + np.cumsum(near.sum(axis=1))).tolist()
    data = (np.concatenate(distances), np.concatenate(columns), np.array(ends))
    return csr_array(data, shape=(len(rows), len(rows)))


def _by_size(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same clusters, numbered from the largest on; equal ones by their first face."""
    numbers, first, counts = np.unique(labels, return_index=True, return_counts=True)
    kept = numbers >= 0
    numbers, first, counts = numbers[kept], first[kept], counts[kept]
    order = np.lexsort((first, -counts))
    renamed = np.full(int(labels.max(initial=-1)) + 2, -1, np.int64)
    renamed[numbers[order]] = np.arange(len(order))
    return renamed[labels]
