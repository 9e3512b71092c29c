"""The pairs protocol: embed each file once, score the pairs, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embed, Embedded, embed_images
from gfkeras.evaluation.intervals import accuracy_interval, curve_intervals
from gfkeras.evaluation.metrics import (
    FARS,
    check_scores,
    kfold_accuracy,
    operating_points,
    roc,
)
from gfkeras.evaluation.pair_files import read_pairs
from gfkeras.evaluation.pair_list import PairList, stratified_folds
from gfkeras.evaluation.pair_sampling import all_pairs, sample_pairs
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.similarity import COSINE, unit

__all__ = [
    "PairList",
    "PairsResult",
    "all_pairs",
    "evaluate_pair_scores",
    "evaluate_pairs",
    "read_pairs",
    "sample_pairs",
    "stratified_folds",
]

# Rows scored together: the gathered embeddings stay small however many pairs there are.
_CHUNK = 65_536

RowSimilarity = Callable[[Any, Any, Any, Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedPairs:
    """The pairs of a list whose files could both be read.

    Attributes:
        faces: the embeddings.
        pairs: those pairs.
        first, second: (P,) rows of `faces`.
        skipped: how many pairs of the list are not among them.
    """

    faces: Embedded
    pairs: PairList
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    skipped: int = 0

    def scores(self, similarity: RowSimilarity = COSINE) -> npt.NDArray[np.float64]:
        """(P,) scores; see `score_rows`."""
        return score_rows(self.faces, self.first, self.second, similarity)

    def measure(
        self,
        similarity: RowSimilarity = COSINE,
        fars: Sequence[float] = FARS,
        replicates: int = 0,
    ) -> PairsResult:
        """What `evaluate_pairs` gives for them."""
        result = evaluate_pair_scores(
            self.scores(similarity), self.pairs.same, self.pairs.fold, fars, replicates
        )
        return dataclasses.replace(
            result, skipped=self.skipped, skipped_files=self.faces.skipped, kept=self.pairs
        )

    def with_embeddings(self, embedding: npt.NDArray[Any]) -> EmbeddedPairs:
        """The same pairs by other embeddings (M, K) of the same faces."""
        faces = dataclasses.replace(self.faces, embedding=unit(embedding))
        return dataclasses.replace(self, faces=faces)


def embed_pairs(embed: Embed, pairs: PairList) -> EmbeddedPairs:
    """Embeds each distinct file of a list of pairs once.

    Args:
        embed: takes paths and returns `ImageEmbeddings`, such as `Embedder.embed_files`.
        pairs: what to compare.

    Raises:
        ValueError: where no pair could be read, or an embedding is not finite.
    """
    files = pairs.files()
    if not files:
        raise ValueError("`pairs` must hold at least one pair. Received: none")
    faces = embed_images(embed, files)
    position = {path: i for i, path in enumerate(files)}
    first = faces.row[[position[path] for path in pairs.first]]
    second = faces.row[[position[path] for path in pairs.second]]
    readable = (first >= 0) & (second >= 0)
    if not readable.any():
        reason = "; {}: {}".format(*faces.skipped[0]) if faces.skipped else ""
        raise ValueError(
            f"None of the {len(pairs)} pairs could be measured: "
            f"{len(faces.skipped)} of {len(files)} files could not be read{reason}"
        )
    kept = pairs if readable.all() else pairs.select(readable)
    return EmbeddedPairs(faces, kept, first[readable], second[readable], len(pairs) - len(kept))


def evaluate_pairs(
    embed: Embed,
    pairs: PairList,
    fars: Sequence[float] = FARS,
    similarity: RowSimilarity = COSINE,
    replicates: int = 0,
) -> PairsResult:
    """Embeds each distinct file once and measures the pairs.

    Pairs of which a file could not be read are left out, counted in `skipped`, and their files
    listed with the reason; a list with nothing left is refused.

    Args:
        embed: takes paths and returns `ImageEmbeddings`, such as `Embedder.embed_files`.
        pairs: what to compare.
        fars: where to read the TAR.
        similarity: scores rows of (embedding_a, embedding_b, group_a, group_b) to (B,): the
            cosine, `GROUP_AWARE`, or another function; group features are None for networks
            without groups.
        replicates: draws of the bootstrap for `intervals`; 0 leaves them out.

    Raises:
        ValueError: where no pair, or no pair of one kind, could be read; where an embedding is
            not finite; where fewer than two folds are left.
    """
    return embed_pairs(embed, pairs).measure(similarity, fars, replicates)


def evaluate_pair_scores(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    folds: npt.ArrayLike | None = None,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
) -> PairsResult:
    """Measures scores made elsewhere.

    Args:
        scores: (N,), higher is more alike.
        same: (N,), true for genuine pairs.
        folds: (N,) integers; None deals ten stratified folds of neighbouring pairs.
        fars: where to read the TAR.
        replicates: draws of the bootstrap for `intervals`; 0 leaves them out.

    Raises:
        ValueError: for scores that are not finite, lengths that differ, a missing kind of pair,
            or fewer than two folds.
    """
    scores, same = check_scores(scores, same)
    fold = np.asarray(stratified_folds(same) if folds is None else folds)
    accuracy = kfold_accuracy(scores, same, fold)
    curve = roc(scores, same)
    points = operating_points(curve, fars)
    result = PairsResult(
        scores=scores,
        same=same,
        fold=fold.astype(np.int64),
        folds=accuracy,
        balanced_folds=kfold_accuracy(scores, same, fold, balanced=True),
        auc=curve.auc,
        eer=curve.eer,
        tar_at_far={name: point and point[0] for name, point in points.items()},
        threshold_at_far={name: point and point[1] for name, point in points.items()},
    )
    if not replicates:
        return result
    chosen = accuracy.thresholds[np.searchsorted(accuracy.folds, fold)]
    right = (scores >= chosen) == same
    intervals = {
        "accuracy": accuracy_interval(right, result.fold, replicates),
        **curve_intervals(curve, fars, replicates),
    }
    return dataclasses.replace(result, intervals=intervals)


def score_rows(
    faces: Embedded,
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    similarity: RowSimilarity = COSINE,
) -> npt.NDArray[np.float64]:
    """Scores (P,) float64 of the faces in rows `first` (P,) with those in rows `second` (P,)."""
    embedding, group = faces.embedding, faces.group_feature
    scores = np.empty(len(first), dtype=np.float64)
    for start in range(0, len(first), _CHUNK):
        rows = slice(start, start + _CHUNK)
        a, b = first[rows], second[rows]
        group_a, group_b = (None, None) if group is None else (group[a], group[b])
        found = similarity(embedding[a], embedding[b], group_a, group_b)
        scores[rows] = np.asarray(found).reshape(-1)
    return scores
