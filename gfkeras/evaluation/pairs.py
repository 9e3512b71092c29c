"""The pairs protocol: embed each file once, score the pairs, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embed, Embedded, embed_images
from gfkeras.evaluation.intervals import accuracy_interval, curve_intervals, interval_text, tar_rows
from gfkeras.evaluation.metrics import (
    FARS,
    FoldAccuracy,
    Roc,
    check_scores,
    kfold_accuracy,
    operating_points,
    parted,
    roc,
)
from gfkeras.evaluation.pair_list import PairList, stratified_folds
from gfkeras.evaluation.similarity import COSINE, unit

# Rows scored together. It limits the memory for gathered embeddings, however many pairs there are.
_CHUNK = 65_536
RowSimilarity = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, eq=False)
class PairsResult:
    """Results of one model on one list of pairs. Every rate is a fraction from 0 to 1.

    Attributes:
        scores: (N,) similarity of each measured pair, higher is more alike.
        same, fold: (N,) true for genuine pairs, and the fold of each pair.
        folds: k-fold accuracy, its thresholds and standard error.
        balanced_folds: the same with (TAR + 1 − FAR) / 2 instead of accuracy, for lists that are
            mostly impostors.
        auc, eer: area under the ROC, and equal error rate.
        tar_at_far, threshold_at_far: keyed "1e-3". None below 1 / impostors, too few to measure.
        skipped, skipped_files: number of pairs left out, and the unreadable files with the reasons.
        kept: the measured pairs, in the order of `scores`. None if only scores were given.
        intervals: 95 % bootstrap intervals of "accuracy", "auc", "eer", and of "tar_at_far" by the
            name of the FAR. None if not requested.
    """

    scores: npt.NDArray[np.float64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]
    folds: FoldAccuracy
    balanced_folds: FoldAccuracy
    auc: float
    eer: float
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    skipped: int = 0
    skipped_files: list[tuple[Path, str]] = field(default_factory=list)
    kept: PairList | None = None
    intervals: dict[str, Any] | None = None

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the left-out folds."""
        return self.folds.mean

    @property
    def accuracy_std(self) -> float:
        """Standard deviation of the accuracy across the folds."""
        return self.folds.std

    @property
    def balanced_accuracy(self) -> float:
        """Mean balanced accuracy over the left-out folds."""
        return self.balanced_folds.mean

    @property
    def threshold(self) -> float:
        """Mean of the folds' thresholds: a single threshold for decisions."""
        return float(self.folds.thresholds.mean())

    @property
    def pairs(self) -> int:
        """Number of pairs measured."""
        return len(self.scores)

    @property
    def genuine(self) -> int:
        """Number of genuine pairs measured."""
        return int(self.same.sum())

    @property
    def impostor(self) -> int:
        """Number of impostor pairs measured."""
        return self.pairs - self.genuine

    def roc(self) -> Roc:
        """The exact ROC."""
        return roc(self.scores, self.same)

    def hardest(self, same: bool, count: int = 10) -> npt.NDArray[np.int64]:
        """Returns the rows of the pairs that look most like the other kind, hardest first.

        They are the genuine pairs with the lowest scores (same=True) or the impostor pairs with the
        highest scores (same=False).
        """
        rows = np.flatnonzero(self.same == same)
        scores = self.scores[rows] if same else -self.scores[rows]
        # The stable sort keeps pairs with equal scores in the order of the list.
        return rows[np.argsort(scores, kind="stable")[:count]]

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the single scores, for `json.dump`."""
        return {
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "accuracy_standard_error": self.folds.standard_error,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_std": self.balanced_folds.std,
            "auc": self.auc,
            "eer": self.eer,
            "tar_at_far": dict(self.tar_at_far),
            "threshold_at_far": dict(self.threshold_at_far),
            "threshold": self.threshold,
            "intervals": self.intervals,
            "pairs": self.pairs,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "folds": len(self.folds.folds),
            "accuracies": self.folds.accuracies.tolist(),
            "thresholds": self.folds.thresholds.tolist(),
            "skipped": self.skipped,
            "skipped_files": [[str(path), reason] for path, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Returns rows of (label, value) to print."""
        known = self.intervals or {}
        accuracy = f"{self.accuracy:.2%} ± {self.accuracy_std:.2%}"
        kinds = f"{self.genuine:,} genuine, {self.impostor:,} impostor"
        rows = [
            ("Accuracy", accuracy + interval_text(known.get("accuracy"))),
            ("Balanced accuracy", f"{self.balanced_accuracy:.2%}"),
            ("AUC", f"{self.auc:.5f}" + interval_text(known.get("auc"), ".5f")),
            ("EER", f"{self.eer:.2%}" + interval_text(known.get("eer"))),
        ]
        measured = {name: tar for name, tar in self.tar_at_far.items() if tar is not None}
        rows += tar_rows(measured, known.get("tar_at_far", {}))
        rows += [
            ("Threshold", f"{self.threshold:.4f}"),
            ("Pairs", f"{self.pairs:,} ({kinds}, {len(self.folds.folds)} folds)"),
            ("Skipped", f"{self.skipped:,} pairs, {len(self.skipped_files):,} files"),
        ]
        return rows


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


def embed_pairs(embed: Embed, pairs: PairList) -> EmbeddedPairs:
    """Embeds each distinct file of a list once. Raises ValueError if no pair was readable."""
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
    pairs: PairList,
    fars: Sequence[float] = FARS,
    similarity: RowSimilarity = COSINE,
    replicates: int = 0,
) -> PairsResult:
    """Embeds each distinct file once and measures the pairs.

    Pairs with an unreadable file are left out and counted in `skipped`. The file is listed with the
    reason.

    Args:
        embed: takes paths and returns `ImageEmbeddings`, such as `Embedder.embed_files`.
        pairs: the pairs to compare.
        fars: false accept rates at which to measure the TAR.
        similarity: returns scores (B,) for rows of (embedding_a, embedding_b, group_a, group_b).
            Use the cosine, `GROUP_AWARE` or another function. Group features are None for a model
            without groups.
        replicates: number of bootstrap draws for `intervals`. 0 leaves them out.

    Raises:
        ValueError: if no pair, or no pair of one kind, was readable, if an embedding is not finite,
            or if fewer than two folds are left.
    """
    return embed_pairs(embed, pairs).measure(similarity, fars, replicates)


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
        scores=scores,
        same=same,
        fold=fold.astype(np.int64),
        folds=accuracy,
        balanced_folds=kfold_accuracy(scores, same, fold, balanced=True),
        auc=curve.auc,
        eer=curve.eer,
        tar_at_far=tars,
        threshold_at_far=thresholds,
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
