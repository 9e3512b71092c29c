"""Clusters of faces: the same as scikit-learn's, numbered by size."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from gfkeras.inference import clustering
from gfkeras.inference.clustering import cluster_faces


def faces(sizes=(5, 9, 1, 3), width=32, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(sizes)), sizes)
    centers = rng.standard_normal((len(sizes), width))
    rows = centers[person] + noise * rng.standard_normal((len(person), width))
    return rows.astype(np.float32), person


def test_people_are_found_the_largest_first():
    rows, person = faces()
    labels = cluster_faces(rows, 0.7)
    assert labels[person == 1].tolist() == [0] * 9
    assert labels[person == 0].tolist() == [1] * 5
    assert labels[person == 3].tolist() == [2] * 3
    # A single photo does not make a cluster.
    assert labels[person == 2].tolist() == [-1]
    assert cluster_faces(rows, 0.7, min_faces=1)[person == 2].tolist() == [3]


@pytest.mark.parametrize("threshold", [-0.5, 0.2, 0.6, 0.95])
def test_the_same_as_with_all_distances(threshold, monkeypatch):
    monkeypatch.setattr(clustering, "_BLOCK", 7)
    rows, _ = faces(sizes=[4] * 12, noise=0.9, seed=1)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    apart = np.maximum(1 - unit @ unit.T, 0)
    expected = DBSCAN(eps=1 - threshold, min_samples=3, metric="precomputed").fit(apart).labels_
    found = cluster_faces(rows, threshold, min_faces=3)
    assert ((found < 0) == (expected < 0)).all()
    assert adjusted_rand_score(found, expected) == 1


def test_hdbscan_needs_no_threshold():
    rows, person = faces(sizes=[12, 8, 10])
    assert adjusted_rand_score(cluster_faces(rows, method="hdbscan", min_faces=5), person) == 1


def test_degenerate_sets():
    alike = np.ones((5, 4), np.float32)
    assert cluster_faces(alike, 0.99).tolist() == [0] * 5
    assert cluster_faces(alike[:1]).tolist() == [-1]
    assert cluster_faces(alike[:0]).tolist() == []
    assert cluster_faces(alike[:1], method="hdbscan").tolist() == [-1]
    with pytest.raises(ValueError, match="finite"):
        cluster_faces(np.full((2, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match="did you mean 'dbscan'"):
        cluster_faces(alike, method="dbscn")
    with pytest.raises(ValueError, match="threshold"):
        cluster_faces(alike, threshold=1.5)
