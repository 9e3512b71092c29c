"""What a verification protocol found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.intervals import interval_text
from gfkeras.evaluation.metrics import FoldAccuracy, Roc, roc
from gfkeras.evaluation.pair_list import PairList


@dataclass(frozen=True, eq=False)
class PairsResult:
    """Figures of one network on one list of pairs; every rate is a fraction, 0 to 1.

    Attributes:
        scores: (N,) similarity of each measured pair, higher is more alike.
        same: (N,) true for genuine pairs.
        fold: (N,) fold of each pair.
        folds: k-fold accuracy, its thresholds and standard error.
        balanced_folds: the same with (TAR + 1 − FAR) / 2 in place of accuracy, for lists
            that are mostly impostors.
        auc: area under the ROC.
        eer: equal error rate.
        tar_at_far: keyed "1e-3"; None below 1 / impostors, which cannot be measured.
        threshold_at_far: the thresholds of those points; None likewise.
        skipped: how many pairs were left out because a file could not be read.
        skipped_files: those files, each with the reason.
        kept: the pairs measured, row for row as `scores`; None where only scores were given.
        intervals: 95 % intervals by the bootstrap: "accuracy", "auc" and "eer", and "tar_at_far"
            by name of the FAR; None where not asked for.
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
        """Mean of the folds' thresholds: one number to decide by."""
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
        """Rows of the pairs that look most like the other kind.

        The genuine pairs of lowest score (same=True) or the impostors of highest score
        (same=False), hardest first.
        """
        rows = np.flatnonzero(self.same == same)
        scores = self.scores[rows] if same else -self.scores[rows]
        return rows[np.argsort(scores, kind="stable")[:count]]

    def to_json(self) -> dict[str, Any]:
        """Everything but the single scores, for `json.dump`."""
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
        """Rows of (label, value) to print, percentages written out."""
        known = self.intervals or {}
        tars = known.get("tar_at_far", {})
        accuracy = f"{self.accuracy:.2%} ± {self.accuracy_std:.2%}"
        rows = [
            ("Accuracy", accuracy + interval_text(known.get("accuracy"))),
            ("Balanced accuracy", f"{self.balanced_accuracy:.2%}"),
            ("AUC", f"{self.auc:.5f}" + interval_text(known.get("auc"), ".5f")),
            ("EER", f"{self.eer:.2%}" + interval_text(known.get("eer"))),
        ]
        rows += [
            (f"TAR @ FAR {name}", f"{tar:.2%}" + interval_text(tars.get(name)))
            for name, tar in self.tar_at_far.items()
            if tar is not None
        ]
        rows += [
            ("Threshold", f"{self.threshold:.4f}"),
            (
                "Pairs",
                f"{self.pairs:,} ({self.genuine:,} genuine, {self.impostor:,} impostor, "
                f"{len(self.folds.folds)} folds)",
            ),
            ("Skipped", f"{self.skipped:,} pairs, {len(self.skipped_files):,} files"),
        ]
        return rows
