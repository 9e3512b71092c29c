"""The pairs protocol: embed each file once, score the pairs, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

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

__all__ = [
    "FileEmbeddings",
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

Similarity = Callable[[Any, Any, Any, Any], Any]


class FileEmbeddings(Protocol):
    """What `embed_files` returns for a list of paths, M of which could be read.

    Attributes:
        embedding: (M, D), L2-normalised.
        group_feature: (M, 256) or None.
        index: (M,) position in the list of each file read.
        skipped: each file not read, with the reason.
    """

    @property
    def embedding(self) -> npt.NDArray[Any]: ...
    @property
    def group_feature(self) -> npt.NDArray[Any] | None: ...
    @property
    def index(self) -> npt.NDArray[Any]: ...
    @property
    def skipped(self) -> Sequence[tuple[Path, str]]: ...


def evaluate_pairs(
    embed_files: Callable[[list[Path]], FileEmbeddings],
    pairs: PairList,
    fars: Sequence[float] = FARS,
    similarity: Similarity | None = None,
) -> PairsResult:
    """Embeds each distinct file once and measures the pairs.

    Pairs of which a file could not be read are left out, counted in `skipped`, and their files
    listed with the reason; a list with nothing left is refused.

    Args:
        embed_files: takes paths and returns `FileEmbeddings`, such as `Embedder.embed_files`.
        pairs: what to compare.
        fars: where to read the TAR.
        similarity: scores rows of (embedding_a, embedding_b, group_a, group_b) to (B,), such as
            `gfkeras.group_aware_similarity`; group features are None for networks without
            groups. By default the cosine of the embeddings.

    Raises:
        ValueError: where no pair, or no pair of one kind, could be read; where an embedding is
            not finite; where fewer than two folds are left.
    """
    files = pairs.files()
    if not files:
        raise ValueError("`pairs` must hold at least one pair. Received: none")
    embedded = embed_files(files)
    index = np.asarray(embedded.index, dtype=np.int64).reshape(-1)
    embedding = np.asarray(embedded.embedding)
    skipped_files = [(Path(path), str(reason)) for path, reason in embedded.skipped]
    if embedding.ndim != 2 or len(embedding) != len(index):
        raise ValueError(
            "`embed_files` must return an embedding row for each entry of index. "
            f"Received: embedding of shape {embedding.shape}, index of shape {index.shape}"
        )
    if len(index) and not np.isfinite(embedding).all():
        bad = int(np.flatnonzero(~np.isfinite(embedding).all(axis=1))[0])
        raise ValueError(f"The embedding of {files[index[bad]]} is not finite.")

    row_of = np.full(len(files), -1, dtype=np.int64)
    row_of[index] = np.arange(len(index))
    position = {path: i for i, path in enumerate(files)}
    first = row_of[[position[path] for path in pairs.first]]
    second = row_of[[position[path] for path in pairs.second]]
    readable = (first >= 0) & (second >= 0)
    left_out = int((~readable).sum())
    if left_out == len(pairs):
        reason = "; {}: {}".format(*skipped_files[0]) if skipped_files else ""
        raise ValueError(
            f"None of the {len(pairs)} pairs could be measured: "
            f"{len(files) - len(index)} of {len(files)} files could not be read{reason}"
        )
    kept = pairs if not left_out else pairs.select(readable)
    scores = _score(embedded, embedding, first[readable], second[readable], similarity)
    result = evaluate_pair_scores(scores, kept.same, kept.fold, fars)
    return dataclasses.replace(result, skipped=left_out, skipped_files=skipped_files, kept=kept)


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


def _score(
    embedded: FileEmbeddings,
    embedding: npt.NDArray[Any],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    similarity: Similarity | None,
) -> npt.NDArray[np.float64]:
    group = None if embedded.group_feature is None else np.asarray(embedded.group_feature)
    embedding = embedding.astype(np.float32)
    # An embedding that comes normalised is left as it is, to the last bit or two; the smallest
    # float keeps an all-zero one, which has no direction, at a score of 0.
    norm = np.linalg.norm(embedding, axis=1, keepdims=True)
    embedding = embedding / np.maximum(norm, np.finfo(np.float32).tiny)
    scores = np.empty(len(first), dtype=np.float64)
    for start in range(0, len(first), _CHUNK):
        rows = slice(start, start + _CHUNK)
        a, b = embedding[first[rows]], embedding[second[rows]]
        if similarity is None:
            scores[rows] = np.einsum("nd,nd->n", a, b, dtype=np.float64)
        else:
            group_a = None if group is None else group[first[rows]]
            group_b = None if group is None else group[second[rows]]
            scores[rows] = np.asarray(similarity(a, b, group_a, group_b)).reshape(-1)
    return scores
