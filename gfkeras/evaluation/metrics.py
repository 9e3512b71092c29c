"""Verification metrics over scores: plain functions of NumPy arrays.

Every function takes `scores` (N,), where higher means more alike, and `same` (N,), true for a
genuine pair (one person) and false for an impostor pair (two people). A pair is accepted if its
score is at least the threshold. Pairs with equal scores are accepted together or not at all, so the
order of the pairs does not matter. FAR is the share of impostor pairs accepted. TAR is the share of
genuine pairs accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

# The FARs that papers report.
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, eq=False)
class Roc:
    """An exact ROC: one point for each distinct score, after a first point at (0, 0).

    Attributes:
        far, tar: (P,) shares of impostor and of genuine pairs accepted, rising from 0 to 1.
        thresholds: (P,) falling. The first is just above every score.
        genuine, impostor: numbers of pairs. FAR rises in steps of 1 / impostor.
    """

    far: npt.NDArray[np.float64]
    tar: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    genuine: int
    impostor: int

    @property
    def auc(self) -> float:
        """Area under the curve. See `area_under_curve`."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """Equal error rate. See `equal_error_rate`."""
        gap = self.far + self.tar - 1.0
        after = int(np.argmax(gap >= 0))
        # The first point always has gap −1, so `after` is at least 1.
        if gap[after] == 0:
            return float(self.far[after])
        before = after - 1
        part = -gap[before] / (gap[after] - gap[before])
        return float(self.far[before] + part * (self.far[after] - self.far[before]))


@dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """Accuracy of each left-out fold.

    Attributes:
        accuracies: (F,) fractions.
        thresholds: (F,) the threshold chosen on the other folds.
        folds: (F,) the fold numbers, ascending.
    """

    accuracies: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    folds: npt.NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds, as LFW tables report it."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Standard deviation across the folds (divided by F, as face packages print it)."""
        return float(self.accuracies.std())

    @property
    def standard_error(self) -> float:
        """LFW's S_E: the sample standard deviation (divided by F − 1), divided by √F."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))


def check_scores(
    scores: npt.ArrayLike, same: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Returns scores (N,) as float64 and same (N,) as bool, after checking them.

    Raises ValueError if the shapes differ, a score is not finite, `same` holds anything but true
    and false, or one of the two kinds of pair is missing.
    """
    scores, same = _checked(scores, same)
    return scores.astype(np.float64), same


def _checked(
    scores: npt.ArrayLike, same: npt.ArrayLike
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Checks like `check_scores`, but leaves float32 scores in float32."""
    scores = np.asarray(scores)
    same = np.asarray(same)
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(
            "`scores` and `same` must be one-dimensional and equally long. "
            f"Received: scores of shape {scores.shape}, same of shape {same.shape}"
        )
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"`scores` must be real numbers. Received: dtype {scores.dtype}")
    if scores.dtype != np.float32:
        scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"`scores` must be finite. Received: scores[{bad}]={scores[bad]}")
    if same.dtype != np.bool_:
        if same.dtype.kind not in "fiu" or not np.isin(same, (0, 1)).all():
            raise ValueError(
                f"`same` must hold only true and false (or 1 and 0). Received: dtype {same.dtype}"
            )
        same = same.astype(np.bool_)
    genuine = int(same.sum())
    if genuine in (0, len(same)):
        raise ValueError(
            "Verification needs at least one genuine and one impostor pair. "
            f"Received: {genuine} genuine, {len(same) - genuine} impostor"
        )
    return scores, same


def roc(scores: npt.ArrayLike, same: npt.ArrayLike) -> Roc:
    """Returns the exact ROC of the scores: no point is dropped or interpolated."""
    # Sorting in float32 is exact and saves 0.2 GiB at the peak for 15 million scores.
    scores, same = _checked(scores, same)
    order = np.argsort(scores, kind="stable")[::-1]
    scores = scores[order]
    # Pairs with equal scores are accepted together, so each point is at the last of them.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    accepted = np.cumsum(same[order])[ends]
    return _curve(scores[ends], ends + 1 - accepted, accepted)


def roc_of_counts(
    scores: npt.NDArray[np.float64],
    impostor: npt.NDArray[np.int64],
    genuine: npt.NDArray[np.int64],
) -> Roc:
    """Returns the ROC of counted pairs: their number (U,) at each of the ascending scores (U,)."""
    used = np.flatnonzero(impostor + genuine)[::-1]
    return _curve(scores[used], np.cumsum(impostor[used]), np.cumsum(genuine[used]))


def _curve(scores: npt.NDArray[Any], impostor: npt.NDArray[Any], genuine: npt.NDArray[Any]) -> Roc:
    """Returns the ROC of the pairs accepted at distinct, falling scores."""
    # The first point accepts nothing. JSON has no infinity, so use the next float above the scores.
    above = np.nextafter(np.float64(scores[0]), np.inf)
    far = np.append(0.0, impostor / impostor[-1])
    tar = np.append(0.0, genuine / genuine[-1])
    thresholds = np.append(above, scores.astype(np.float64))
    return Roc(far, tar, thresholds, int(genuine[-1]), int(impostor[-1]))


def far_name(far: float) -> str:
    """Returns the key of a FAR in results: "1e-3" for 0.001, "1.5e-2" for 0.015."""
    mantissa, exponent = f"{far:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def operating_points(
    curve: Roc, fars: Sequence[float] = FARS
) -> dict[str, tuple[float, float] | None]:
    """Returns (TAR, threshold) for each FAR: the largest TAR with FAR at most the target.

    The keys are names such as "1e-3". A target below 1 / impostors gives None, because there are
    too few impostor pairs to measure it. Raises ValueError for a target not above 0 and at most 1.
    """
    points: dict[str, tuple[float, float] | None] = {}
    for far in fars:
        if not 0 < far <= 1:
            raise ValueError(f"`fars` must be above 0 and at most 1. Received: {far!r}")
        if 1 / curve.impostor > far:
            points[far_name(far)] = None
            continue
        # Both k / n and the target are rounded to the nearest float: 3 / 3000 equals 1e-3 exactly.
        last = int(np.searchsorted(curve.far, far, side="right")) - 1
        # No two points have the same FAR and TAR, so the last one has the largest TAR.
        points[far_name(far)] = (float(curve.tar[last]), float(curve.thresholds[last]))
    return points


def parted(
    points: Mapping[str, tuple[float, float] | None],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Returns the rates and the thresholds of operating points. None where a point is None."""
    rates = {name: point and point[0] for name, point in points.items()}
    return rates, {name: point and point[1] for name, point in points.items()}


def tar_at_far(
    scores: npt.ArrayLike, same: npt.ArrayLike, fars: Sequence[float] = FARS
) -> dict[str, float | None]:
    """Returns TAR at each FAR: the largest TAR with FAR at most the target, never interpolated.

    Returns:
        Fractions keyed "1e-1", "1e-2", …. None if there are too few impostor pairs.

    Example:
        >>> from gfkeras.evaluation import tar_at_far
        >>> tar_at_far([0.9, 0.4, 0.6, 0.1], [True, True, False, False], fars=(0.5, 0.1))
        {'5e-1': 1.0, '1e-1': None}
    """
    return parted(operating_points(roc(scores, same), fars))[0]


def area_under_curve(scores: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """Returns the area under the ROC, by trapezoids.

    It is the probability that a genuine pair scores above an impostor pair. A tie counts half.
    """
    return roc(scores, same).auc


def equal_error_rate(scores: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """Returns the error rate at which FAR equals FRR = 1 − TAR.

    If the rates are equal at no point, the two neighbouring points are joined by a straight line.
    """
    return roc(scores, same).eer


def kfold_accuracy(
    scores: npt.ArrayLike, same: npt.ArrayLike, folds: npt.ArrayLike, balanced: bool = False
) -> FoldAccuracy:
    """Returns accuracy by LFW's protocol: each fold uses a threshold chosen on the other folds.

    Every cut between two distinct scores of the other folds is tried. Among the cuts with the best
    accuracy, the one in the widest gap between scores wins. Among equally wide gaps, the lowest
    wins. The threshold is the middle of that gap. Accepting everything or nothing is chosen only
    if it is strictly better than every cut between scores.

    Args:
        scores: (N,), higher is more alike.
        same: (N,), true for genuine pairs.
        folds: (N,) integers, the fold of each pair, in any order.
        balanced: choose and measure by (TAR + 1 − FAR) / 2 instead of accuracy, for sets that are
            mostly impostors. A fold with one kind of pair only is measured on that kind.

    Raises:
        ValueError: if the scores are not measurable, if there are fewer than two folds, or if
            `folds` has the wrong length or type.
    """
    scores, same = check_scores(scores, same)
    folds = np.asarray(folds)
    if folds.shape != scores.shape or folds.dtype.kind not in "iu":
        raise ValueError(
            f"`folds` must hold {len(scores)} integers, one for each pair. "
            f"Received: shape {folds.shape}, dtype {folds.dtype}"
        )
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError(
            "K-fold accuracy needs pairs in at least two folds, because the threshold is chosen on "
            f"the other folds. Received: {len(scores)} pairs in fold {numbers[0]} only"
        )
    distinct, place = np.unique(scores, return_inverse=True)
    counts = np.zeros((len(numbers), 2, len(distinct)), np.int64)
    np.add.at(counts, (np.searchsorted(numbers, folds), same.astype(np.int64), place), 1)
    found = kfold_of_counts(distinct, counts, balanced)
    return replace(found, folds=numbers.astype(np.int64))


def kfold_of_counts(
    scores: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], balanced: bool = False
) -> FoldAccuracy:
    """Returns `kfold_accuracy` of counted pairs.

    Args:
        scores: (U,) distinct scores, ascending.
        counts: (F, 2, U) number of impostor and of genuine pairs with each score in each fold.
        balanced: see `kfold_accuracy`.
    """
    total = counts.sum(axis=0)
    accuracies, thresholds = np.empty((2, len(counts)))
    for fold, left_out in enumerate(counts):
        others = total - left_out
        # Only scores that occur can be next to a threshold.
        used = np.flatnonzero(others.any(axis=0))
        threshold = _best_threshold(scores[used], others[0, used], others[1, used], balanced)
        cut = int(np.searchsorted(scores, threshold))
        right = np.array([left_out[0, :cut].sum(), left_out[1, cut:].sum()])
        sizes = left_out.sum(axis=1)
        thresholds[fold] = threshold
        if balanced and sizes.all():
            accuracies[fold] = (right / sizes).mean()
        else:
            accuracies[fold] = right.sum() / sizes.sum()
    return FoldAccuracy(accuracies, thresholds, np.arange(len(counts)))


def _best_threshold(
    scores: npt.NDArray[np.float64],
    impostor_at: npt.NDArray[np.int64],
    genuine_at: npt.NDArray[np.int64],
    balanced: bool,
) -> float:
    """Returns the threshold for distinct ascending scores, with the ties of `kfold_accuracy`."""
    genuine_below = np.concatenate(([0], np.cumsum(genuine_at)))
    impostor_below = np.concatenate(([0], np.cumsum(impostor_at)))
    genuine, impostor = int(genuine_below[-1]), int(impostor_below[-1])
    # Cut c accepts scores[c:]. Counts stay integers, because equal merits must compare as equal.
    factors = (impostor, genuine) if balanced and genuine and impostor else (1, 1)
    merit = factors[0] * (genuine - genuine_below) + factors[1] * impostor_below
    inner = merit[1:-1]
    if len(inner) and int(inner.max()) >= int(max(merit[0], merit[-1])):
        best = np.flatnonzero(inner == inner.max())
        cut = int(best[np.argmax(np.diff(scores)[best])])
        low, high = float(scores[cut]), float(scores[cut + 1])
        middle = low + (high - low) / 2
        # Neighbouring floats have no middle. `high` separates them just as well.
        return middle if middle > low else high
    if merit[0] >= merit[-1]:
        return float(scores[0])
    return float(np.nextafter(scores[-1], np.inf))


def effective_groups(counts: npt.ArrayLike) -> float:
    """Returns the number of groups in real use: exp of the entropy of their shares.

    It is K if all K groups are used evenly, and 1 if one group takes every face. `counts` (K,) are
    the numbers of faces in each group, or shares. They must not be negative or all 0.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim != 1 or not len(counts) or not np.isfinite(counts).all() or counts.min() < 0:
        raise ValueError(
            f"`counts` must be one row of finite numbers of at least 0. Received: {counts!r}"
        )
    if counts.sum() == 0:
        raise ValueError("`counts` must not all be 0: no face was assigned to a group.")
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
