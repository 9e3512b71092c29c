"""The pairs protocol: embed each file once, score the pairs, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.blockwise import EmbeddedAllPairs
from gfkeras.evaluation.embedded import Embed, Embedded, embed_images
from gfkeras.evaluation.intervals import accuracy_interval, curve_intervals
from gfkeras.evaluation.metrics import (
    FARS,
    check_scores,
    kfold_accuracy,
    operating_points,
    parted,
    roc,
)
from gfkeras.evaluation.pair_list import AllPairs, PairList, stratified_folds
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.similarity import COSINE, unit

# Rows scored together. It limits the memory for gathered embeddings, however many pairs there are.
_CHUNK = 65_536
RowSimilarity = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, eq=False)
class EmbeddedPairs:
    """The pairs of a list whose two files were both readable."""

    faces: Embedded
    pairs: PairList
    # (P,) rows of `faces`.
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    # Number of pairs of the list that were left out.
    skipped: int = 0

    def scores(self, similarity: RowSimilarity = COSINE) -> npt.NDArray[np.float64]:
        """Returns (P,) scores, computed in chunks of rows."""
        embedding, group = self.faces.embedding, self.faces.group_feature
        scores = np.empty(len(self.first), dtype=np.float64)
        for start in range(0, len(scores), _CHUNK):
            rows = slice(start, start + _CHUNK)
            a, b = self.first[rows], self.second[rows]
            groups = (None, None) if group is None else (group[a], group[b])
            # A user's similarity may return (B, 1) or a tensor.
            scores[rows] = np.asarray(similarity(embedding[a], embedding[b], *groups)).reshape(-1)
        return scores

    def measure(
        self, similarity: RowSimilarity = COSINE, fars: Sequence[float] = FARS, replicates: int = 0
    ) -> PairsResult:
        """Returns the result of `evaluate_pairs` for these pairs."""
        scores, listed = self.scores(similarity), self.pairs
        result = evaluate_pair_scores(scores, listed.same, listed.fold, fars, replicates)
        return dataclasses.replace(
            result, skipped=self.skipped, skipped_files=self.faces.skipped, kept=listed
        )

    def with_embeddings(self, embedding: npt.NDArray[Any]) -> EmbeddedPairs:
        """Returns the same pairs with other embeddings (M, K) of the same faces."""
        faces = dataclasses.replace(self.faces, embedding=unit(embedding))
        return dataclasses.replace(self, faces=faces)


@overload
def embed_pairs(embed: Embed, pairs: PairList) -> EmbeddedPairs: ...
@overload
def embed_pairs(embed: Embed, pairs: AllPairs) -> EmbeddedAllPairs: ...
@overload
def embed_pairs(embed: Embed, pairs: PairList | AllPairs) -> EmbeddedPairs | EmbeddedAllPairs: ...
def embed_pairs(embed: Embed, pairs: PairList | AllPairs) -> EmbeddedPairs | EmbeddedAllPairs:
    """Embeds each distinct file once. Raises ValueError if no pair was readable."""
    if isinstance(pairs, AllPairs):
        return EmbeddedAllPairs.of(embed_images(embed, pairs.paths), pairs)
    return embed_lists(embed, [pairs])[0]


def embed_lists(embed: Embed, lists: Sequence[PairList]) -> list[EmbeddedPairs]:
    """Embeds each distinct file of several lists once. Raises ValueError like `embed_pairs`."""
    files = list(dict.fromkeys(path for pairs in lists for path in pairs.files()))
    if not files or not all(map(len, lists)):
        raise ValueError("`pairs` must hold at least one pair. Received: no pairs")
    faces = embed_images(embed, files)
    position = {path: i for i, path in enumerate(files)}
    found = []
    for pairs in lists:
        first = faces.row[[position[path] for path in pairs.first]]
        second = faces.row[[position[path] for path in pairs.second]]
        mine = set(pairs.files())
        skipped = [(path, reason) for path, reason in faces.skipped if path in mine]
        readable = (first >= 0) & (second >= 0)
        if not readable.any():
            reason = " The first: {}: {}".format(*skipped[0]) if skipped else ""
            raise ValueError(
                f"None of the {len(pairs)} pairs could be measured: "
                f"{len(skipped)} of {len(mine)} files could not be read.{reason}"
            )
        kept = pairs if readable.all() else pairs.select(readable)
        of_list = dataclasses.replace(faces, skipped=skipped)
        found.append(
            EmbeddedPairs(of_list, kept, first[readable], second[readable], len(pairs) - len(kept))
        )
    return found


def evaluate_pairs(
    embed: Embed,
    pairs: PairList | AllPairs,
    fars: Sequence[float] = FARS,
    similarity: RowSimilarity = COSINE,
    replicates: int = 0,
) -> PairsResult:
    """Embeds each distinct file once and measures the pairs.

    Pairs with an unreadable file are left out and counted in `skipped`. The file is listed with the
    reason.

    Args:
        embed: takes paths and returns `ImageEmbeddings`, such as `Embedder.embed_files`.
        pairs: the pairs to compare. `AllPairs` are scored in blocks: 100 million of them take a
            minute, and the result has no single scores.
        fars: false accept rates at which to measure the TAR.
        similarity: returns scores (B,) for rows of (embedding_a, embedding_b, group_a, group_b).
            Use the cosine, `GROUP_AWARE` or another function. Group features are None for a model
            without groups. `AllPairs` need a `Similarity`.
        replicates: number of bootstrap draws for `intervals`. 0 leaves them out.

    Raises:
        ValueError: if no pair, or no pair of one kind, was readable, if an embedding is not finite,
            or if fewer than two folds are left.
    """
    return embed_pairs(embed, pairs).measure(similarity, fars, replicates)  # type: ignore[arg-type]


def evaluate_pair_scores(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    folds: npt.ArrayLike | None = None,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
) -> PairsResult:
    """Measures given scores (N,) of pairs. Higher means more alike.

    `same` (N,) and `folds` (N,) are those of `PairList`. Without folds, the pairs are split into
    ten stratified folds of neighbours. `fars`, `replicates` and errors: see `evaluate_pairs`.
    """
    scores, same = check_scores(scores, same)
    fold = np.asarray(stratified_folds(same) if folds is None else folds)
    accuracy = kfold_accuracy(scores, same, fold)
    curve = roc(scores, same)
    tars, thresholds = parted(operating_points(curve, fars))
    result = PairsResult(
        curve=curve,
        folds=accuracy,
        balanced_folds=kfold_accuracy(scores, same, fold, balanced=True),
        tar_at_far=tars,
        threshold_at_far=thresholds,
        scores=scores,
        same=same,
        fold=fold.astype(np.int64),
    )
    if not replicates:
        return result
    # Each pair is decided by the threshold of its own fold, which the other folds chose.
    chosen = accuracy.thresholds[np.searchsorted(accuracy.folds, fold)]
    right = (scores >= chosen) == same
    intervals = {
        "accuracy": accuracy_interval(right, result.fold, replicates),
        **curve_intervals(curve, fars, replicates),
    }
    return dataclasses.replace(result, intervals=intervals)
