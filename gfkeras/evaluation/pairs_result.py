"""The result of the pairs protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.intervals import interval_text, tar_rows
from gfkeras.evaluation.metrics import FoldAccuracy, Roc
from gfkeras.evaluation.pair_list import PairList


@dataclass(frozen=True, eq=False)
class PairsResult:
    """Results of one model on one list of pairs. Every rate is a fraction from 0 to 1.

    Attributes:
        curve: the exact ROC.
        folds: k-fold accuracy, its thresholds and standard error.
        balanced_folds: the same with (TAR + 1 − FAR) / 2 instead of accuracy, for lists that are
            mostly impostors.
        tar_at_far, threshold_at_far: keyed "1e-3". None below 1 / impostors, too few to measure.
        scores: (N,) similarity of each measured pair, higher is more alike. Empty, like the next
            two, if the pairs were counted and not kept (`evaluate_all_pairs`).
        same, fold: (N,) true for genuine pairs, and the fold of each pair.
        skipped, skipped_files: number of pairs left out, and the unreadable files with the reasons.
        kept: the measured pairs, in the order of `scores`. None if only scores were given.
        intervals: 95 % bootstrap intervals of "accuracy", "auc", "eer", and of "tar_at_far" by the
            name of the FAR. None if not requested.
        tar_draws: for `AllPairs`: the TAR of each draw of people, by the name of the FAR. The draws
            of two models can be subtracted.
    """

    curve: Roc
    folds: FoldAccuracy
    balanced_folds: FoldAccuracy
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    same: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    fold: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    skipped: int = 0
    skipped_files: list[tuple[Path, str]] = field(default_factory=list)
    kept: PairList | None = None
    intervals: dict[str, Any] | None = None
    tar_draws: dict[str, list[float]] | None = None

    @property
    def auc(self) -> float:
        """Area under the ROC."""
        return self.curve.auc

    @property
    def eer(self) -> float:
        """Equal error rate."""
        return self.curve.eer

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
        return self.genuine + self.impostor

    @property
    def genuine(self) -> int:
        """Number of genuine pairs measured."""
        return self.curve.genuine

    @property
    def impostor(self) -> int:
        """Number of impostor pairs measured."""
        return self.curve.impostor

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
