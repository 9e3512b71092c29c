"""FaceNet's protocol: VAL at a FAR over squared distances (arXiv 1503.03832, section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embed
from gfkeras.evaluation.intervals import interval_text, percentile_interval
from gfkeras.evaluation.metrics import check_scores, far_name
from gfkeras.evaluation.pair_list import PairList, stratified_folds
from gfkeras.evaluation.pairs import RowSimilarity, embed_pairs
from gfkeras.evaluation.similarity import COSINE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ValidationRate:
    """VAL at one target FAR, on each of F left-out folds.

    `rates` (F,) are the shares of a fold's genuine pairs accepted. `fars` (F,) are the shares of
    its impostor pairs accepted, which can differ from the target. `thresholds` (F,) are squared
    distances chosen on the other folds.
    """

    target: float
    rates: Floats
    fars: Floats
    thresholds: Floats

    @property
    def mean(self) -> float:
        """Mean VAL over the folds."""
        return float(self.rates.mean())

    @property
    def standard_error(self) -> float:
        """Sample standard deviation over √F, which FaceNet reports after the ±."""
        return float(self.rates.std(ddof=1) / np.sqrt(len(self.rates)))


@dataclass(frozen=True, eq=False)
class ValidationRateResult:
    """FaceNet's validation rate of one network on one list of pairs.

    Attributes:
        distances: (N,) squared L2 distance of each measured pair.
        same: (N,) true for genuine pairs.
        at_far: keyed "1e-3". None if the other folds have too few impostor pairs.
        intervals: 95 % intervals of VAL over drawn folds. None if not requested.
        skipped, skipped_files: number of pairs left out, and the unreadable files with reasons.
    """

    distances: Floats
    same: npt.NDArray[np.bool_]
    at_far: dict[str, ValidationRate | None]
    intervals: dict[str, tuple[float, float] | None] | None = None
    skipped: int = 0
    skipped_files: Sequence[tuple[Any, str]] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the single distances, for `json.dump`."""
        found = {name: rate for name, rate in self.at_far.items() if rate is not None}
        return {
            "validation_rate": {name: rate and rate.mean for name, rate in self.at_far.items()},
            "validation_rate_standard_error": {n: r.standard_error for n, r in found.items()},
            "far": {name: float(rate.fars.mean()) for name, rate in found.items()},
            "squared_distance": {n: float(r.thresholds.mean()) for n, r in found.items()},
            "intervals": self.intervals,
            "pairs": len(self.same),
            "genuine": int(self.same.sum()),
            "impostor": int((~self.same).sum()),
            "skipped": self.skipped,
            "skipped_files": [[str(path), reason] for path, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Returns rows of (label, value) to print."""
        rows = []
        for name, rate in self.at_far.items():
            if rate is None:
                rows.append((f"VAL @ FAR {name}", "too few impostor pairs"))
                continue
            text = f"{rate.mean:.2%} ± {rate.standard_error:.2%}"
            rows += [
                (f"VAL @ FAR {name}", text + interval_text((self.intervals or {}).get(name))),
                ("  FAR on the left-out folds", f"{rate.fars.mean():.2e}"),
                ("  squared distance", f"{rate.thresholds.mean():.4f}"),
            ]
        genuine = int(self.same.sum())
        counts = f"{genuine:,} genuine, {len(self.same) - genuine:,} impostor"
        return [
            *rows,
            ("Pairs", f"{len(self.same):,} ({counts})"),
            ("Skipped", f"{self.skipped:,} pairs, {len(self.skipped_files):,} files"),
        ]


def evaluate_validation_rate(
    embed: Embed,
    pairs: PairList,
    fars: Sequence[float] = (1e-1, 1e-2, 1e-3),
    similarity: RowSimilarity = COSINE,
    replicates: int = 0,
) -> ValidationRateResult:
    """Embeds each distinct file once and measures VAL at FAR. See `evaluate_pairs` for arguments.

    For unit embeddings d² = ‖a − b‖² = 2 − 2 cos. With a group-aware similarity it is 2 − 2 S*. For
    each fold, the other folds give the largest distance d whose FAR is at most the target. Then
    VAL(d) = |accepted genuine| / |genuine| is measured on the fold itself.
    """
    found = embed_pairs(embed, pairs)
    scores, kept = found.scores(similarity), found.pairs
    result = validation_rate_of_scores(scores, kept.same, kept.fold, fars, replicates)
    return dataclasses.replace(result, skipped=found.skipped, skipped_files=found.faces.skipped)


def validation_rate_of_scores(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    folds: npt.ArrayLike | None = None,
    fars: Sequence[float] = (1e-1, 1e-2, 1e-3),
    replicates: int = 0,
) -> ValidationRateResult:
    """Measures VAL at FAR of given similarities (N,). Without folds, ten are made of neighbours."""
    scores, same = check_scores(scores, same)
    fold = np.asarray(stratified_folds(same) if folds is None else folds)
    distances = 2 - 2 * scores
    numbers = np.unique(fold)
    for number in numbers:
        kinds = same[fold == number]
        if len(numbers) < 2 or kinds.all() or not kinds.any():
            raise ValueError(
                "VAL at FAR needs at least two folds, each with pairs of both kinds. Received: "
                f"{len(numbers)} folds, fold {number} with {int(kinds.sum())} genuine and "
                f"{int((~kinds).sum())} impostor pairs"
            )
    at_far: dict[str, ValidationRate | None] = {}
    for far in fars:
        found = [_left_out(distances, same, fold == number, far) for number in numbers]
        rows = [row for row in found if row is not None]
        # A mean over some of the folds would not be comparable, so all folds must have a rate.
        complete = len(rows) == len(found)
        at_far[far_name(far)] = ValidationRate(far, *np.array(rows).T) if complete else None
    intervals = None
    if replicates:
        rng = np.random.default_rng(0)
        # Draw whole folds, because the pairs of one person are mostly in one fold.
        drawn = rng.integers(len(numbers), size=(replicates, len(numbers)))
        intervals = {
            name: None if rate is None else percentile_interval(rate.rates[drawn].mean(axis=1))
            for name, rate in at_far.items()
        }
    return ValidationRateResult(distances, same, at_far, intervals)


def _left_out(
    distances: Floats, same: npt.NDArray[np.bool_], left_out: npt.NDArray[np.bool_], far: float
) -> tuple[float, float, float] | None:
    """Returns (VAL, FAR, threshold) of a left-out fold. None if the others have too few pairs."""
    impostors = np.sort(distances[~left_out & ~same])
    # The tiny factor keeps a product such as 0.001 × 3000 from being rounded down to 2.
    allowed = int(np.floor(far * len(impostors) * (1 + 1e-12)))
    if not allowed:
        return None
    threshold = distances.max()
    if allowed < len(impostors):
        # Just below the first impostor to refuse. Pairs that tie with it are refused, too.
        threshold = np.nextafter(impostors[allowed], -np.inf)
    accepted, mine = distances[left_out] <= threshold, same[left_out]
    return float(accepted[mine].mean()), float(accepted[~mine].mean()), float(threshold)
