r"""Clustering LFW without names: agreement of the clusters with the people, by threshold.

    python benchmarks/clustering_lfw.py [MODEL.tflite] [--data DATA/lfw_aligned112]

Without MODEL, InsightFace's MobileFaceNet of MS1M is imported from $GFKERAS_DATA/models.

BCubed precision and recall (Bagga and Baldwin, 1998) are means over faces. Precision is the share
of a face's cluster that shows the same person. Recall is the share of the person's faces in that
cluster. A face without a cluster counts as a cluster of one. The people are split into halves. The
threshold with the best F on one half is measured on the other half. For comparison,
scikit-learn's agglomerative clustering (average linkage) runs with its own best threshold.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _faces import aligned_folder, tflite_of
from sklearn.cluster import AgglomerativeClustering

from gfkeras.inference import Embedder
from gfkeras.inference.clustering import cluster_faces

THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def bcubed(people: np.ndarray, clusters: np.ndarray) -> tuple[float, float, float]:
    """Returns BCubed precision, recall and F."""
    alone = clusters < 0
    # Give each face without a cluster its own number.
    clusters = np.where(alone, clusters.max(initial=0) + 1 + np.arange(len(clusters)), clusters)
    _, pair, both = np.unique(
        np.stack([people, clusters]), axis=1, return_inverse=True, return_counts=True
    )
    both = both[pair.ravel()]
    precision = float((both / np.bincount(clusters)[clusters]).mean())
    recall = float((both / np.bincount(people)[people]).mean())
    return precision, recall, 2 * precision * recall / (precision + recall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", help="a .tflite file")
    parser.add_argument("--data", type=Path, help="folder of aligned faces")
    arguments = parser.parse_args()
    files = sorted(aligned_folder(arguments.data).glob("*/*.*"))
    with tflite_of(arguments.model) as model:
        found = Embedder(model).embed_files(files)
    names = [files[position].parent.name for position in found.index]
    people = np.unique(names, return_inverse=True)[1]
    # Split by people and not by faces, because a person's faces belong together.
    first = people % 2 == 0
    print(f"{len(people):,} faces of {people.max() + 1:,} people; tuned on half of the people")

    def peer(rows: np.ndarray, threshold: float) -> np.ndarray:
        return AgglomerativeClustering(
            n_clusters=None, distance_threshold=1 - threshold, metric="cosine", linkage="average"
        ).fit_predict(rows)

    ways: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
        "gfkeras, dbscan": cluster_faces,
        "agglomerative, average linkage": peer,
    }
    for name, way in ways.items():
        print(f"{name}: threshold, then BCubed precision, recall and F of both halves")
        scores = {}
        for threshold in THRESHOLDS:
            start = time.perf_counter()
            halves = [
                bcubed(people[half], way(found.embedding[half], threshold))
                for half in (first, ~first)
            ]
            taken = time.perf_counter() - start
            scores[threshold] = halves
            figures = "   ".join(" ".join(f"{100 * v:6.2f}" for v in half) for half in halves)
            print(f"  {threshold:.2f}   {figures}   {taken:6.2f} s")
        best = max(THRESHOLDS, key=lambda threshold: scores[threshold][0][2])
        print(f"  best on the first half: {best}, F on the other {100 * scores[best][1][2]:.2f} %")
    start = time.perf_counter()
    precision, recall, f = bcubed(
        people[~first], cluster_faces(found.embedding[~first], method="hdbscan")
    )
    taken = time.perf_counter() - start
    print(f"gfkeras, hdbscan, other half: {100 * precision:.2f} {100 * recall:.2f} {100 * f:.2f}")
    print(f"  {taken:.2f} s")


if __name__ == "__main__":
    main()
