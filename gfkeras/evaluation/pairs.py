"""The pairs protocol: embed each file once, score the pairs, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embed, Embedded, embed_images
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
from gfkeras.evaluation.similarity import COSINE

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


def evaluate_pairs(
    embed: Embed,
    pairs: PairList,
    fars: Sequence[float] = FARS,
    similarity: RowSimilarity = COSINE,
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

    Raises:
        ValueError: where no pair, or no pair of one kind, could be read; where an embedding is
            not finite; where fewer than two folds are left.
    """
    files = pairs.files()
    if not files:
        raise ValueError("`pairs` must hold at least one pair. Received: none")
    embedded = embed_images(embed, files)
    position = {path: i for i, path in enumerate(files)}
    first = embedded.row[[position[path] for path in pairs.first]]
    second = embedded.row[[position[path] for path in pairs.second]]
    readable = (first >= 0) & (second >= 0)
    left_out = int((~readable).sum())
    if left_out == len(pairs):
        reason = "; {}: {}".format(*embedded.skipped[0]) if embedded.skipped else ""
        raise ValueError(
            f"None of the {len(pairs)} pairs could be measured: "
            f"{len(embedded.skipped)} of {len(files)} files could not be read{reason}"
        )
    kept = pairs if not left_out else pairs.select(readable)
    scores = score_rows(embedded, first[readable], second[readable], similarity)
    result = evaluate_pair_scores(scores, kept.same, kept.fold, fars)
    return dataclasses.replace(result, skipped=left_out, skipped_files=embedded.skipped, kept=kept)


def evaluate_pair_scores(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    folds: npt.ArrayLike | None = None,
    fars: Sequence[float] = FARS,
) -> PairsResult:
    """Measures scores made elsewhere.

    Args:
        scores: (N,), higher is more alike.
        same: (N,), true for genuine pairs.
        folds: (N,) integers; None deals ten stratified folds of neighbouring pairs.
        fars: where to read the TAR.

    Raises:
        ValueError: for scores that are not finite, lengths that differ, a missing kind of pair,
            or fewer than two folds.
    """
    scores, same = check_scores(scores, same)
    fold = np.asarray(stratified_folds(same) if folds is None else folds)
    accuracy = kfold_accuracy(scores, same, fold)
    curve = roc(scores, same)
    points = operating_points(curve, fars)
    return PairsResult(
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
