"""Confidence intervals by the bootstrap: percentiles over many random draws.

Pairs that share people are not independent. If the people of each pair are known, people are drawn
and not pairs (the subsets bootstrap of Bolle, Ratha and Pankanti, CVIU 2004). Drawing pairs would
understate the uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import in_range, positive_int
from gfkeras.evaluation.metrics import FARS, Roc, far_name

REPLICATES = 1000
CONFIDENCE = 0.95

Interval = tuple[float, float]
Integers = npt.NDArray[np.int64]


def percentile_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Returns the middle `confidence` of the values that a metric takes over the draws."""
    tail = 100 * (1 - in_range("confidence", confidence, 0, 1)) / 2
    low, high = np.percentile(np.asarray(values, np.float64), [tail, 100 - tail])
    return float(low), float(high)


def share_interval(share: float, count: int) -> Interval:
    """Returns Wilson's 95 % interval of a share found in `count` independent trials."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    # Unlike the normal approximation, this interval stays in 0…1 and is not empty at 0 or 1.
    half = z / (1 + z * z / count)
    half *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def interval_text(interval: Interval | None, form: str = ".2%") -> str:
    """Returns an interval as text, "  (95 %: 98.1% to 98.9%)". Empty if it is unknown."""
    if interval is None:
        return ""
    return f"  ({CONFIDENCE:.0%}: {interval[0]:{form}} to {interval[1]:{form}})"


def tar_rows(
    tar_at_far: Mapping[str, float | None], intervals: Mapping[str, Interval | None]
) -> list[tuple[str, str]]:
    """Returns printable rows of TAR at each FAR, with the intervals that are known."""
    rows = []
    for name, tar in tar_at_far.items():
        known = interval_text(intervals.get(name))
        text = "too few impostor pairs" if tar is None else f"{tar:.2%}{known}"
        rows.append((f"TAR @ FAR {name}", text))
    return rows


def accuracy_interval(
    right: npt.NDArray[np.bool_], fold: Integers, replicates: int = REPLICATES
) -> Interval:
    """Returns the interval of the mean accuracy over folds, drawing pairs within each fold.

    `right` (N,) is true for each correctly decided pair.
    """
    rng = np.random.default_rng(0)
    means = np.zeros(positive_int("replicates", replicates))
    numbers = np.unique(fold)
    for number in numbers:
        mine = right[fold == number]
        # The number of correct pairs among n drawn pairs is binomial, so no pairs are drawn.
        means += rng.binomial(len(mine), mine.mean(), size=replicates) / len(mine)
    return percentile_interval(means / len(numbers))


def curve_intervals(
    curve: Roc, fars: Sequence[float] = FARS, replicates: int = REPLICATES
) -> dict[str, Any]:
    """Returns intervals of "auc", "eer" and, by FAR, "tar_at_far". Draws pairs within each kind."""
    positive_int("replicates", replicates)
    rng = np.random.default_rng(0)
    # The number of pairs at each distinct score, highest score first.
    impostor = np.rint(np.diff(curve.far) * curve.impostor).astype(np.int64)
    genuine = np.rint(np.diff(curve.tar) * curve.genuine).astype(np.int64)
    shares = impostor / curve.impostor, genuine / curve.genuine
    figures: dict[str, list[float]] = {"auc": [], "eer": []}
    tars: dict[str, list[float]] = {far_name(far): [] for far in fars}
    for _ in range(replicates):
        # A multinomial over the distinct scores equals drawing single pairs, and is faster.
        drawn = [
            np.concatenate([[0], np.cumsum(rng.multinomial(total, share))]) / total
            for total, share in zip((curve.impostor, curve.genuine), shares, strict=True)
        ]
        again = Roc(drawn[0], drawn[1], curve.thresholds, curve.genuine, curve.impostor)
        figures["auc"].append(again.auc)
        figures["eer"].append(again.eer)
        for far in fars:
            last = int(np.searchsorted(again.far, far, side="right")) - 1
            tars[far_name(far)].append(float(again.tar[last]))
    found: dict[str, Any] = {name: percentile_interval(each) for name, each in figures.items()}
    found["tar_at_far"] = {
        name: None if 1 / curve.impostor > far else percentile_interval(tars[name])
        for far, name in zip(fars, tars, strict=True)
    }
    return found


def subject_intervals(
    scores: npt.NDArray[Any],
    same: npt.NDArray[np.bool_],
    first: Integers,
    second: Integers,
    fars: Sequence[float] = FARS,
    replicates: int = 200,
) -> dict[str, Interval | None]:
    """Returns intervals of TAR at FAR keyed "1e-3", drawing subjects and not pairs.

    A pair counts as often as its subjects were drawn: the product of their two counts, or, for a
    pair of one subject, that subject's count. Only the impostor pairs with the highest scores are
    examined one by one. The others count by their number for each two subjects. A FAR below
    1 / impostors gives None.

    Args:
        first, second: (N,) the subject of either side, any integers.
    """
    subjects, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = numbers.reshape(2, -1)
    impostor, genuine = np.flatnonzero(~same), np.flatnonzero(same)
    count = len(subjects)
    keys, pairs = np.unique(first[impostor] * count + second[impostor], return_counts=True)
    one, other = np.divmod(keys, count)

    def highest(number: int) -> Highest:
        top = impostor
        if number < len(impostor):
            cut = len(impostor) - number
            top = impostor[np.argpartition(scores[impostor], cut)[cut:]]
        kept = np.concatenate([top, genuine])
        return Highest(scores[kept], same[kept], first[kept], second[kept])

    draws = drawn_subjects(
        highest, count, lambda drawn: float(np.dot(drawn[one], pairs * drawn[other])),
        len(impostor), fars, replicates,
    )  # fmt: skip
    return draw_intervals(draws)


def draw_intervals(draws: Mapping[str, Sequence[float]]) -> dict[str, Interval | None]:
    """Returns the interval of each FAR's draws. None if it has no draws."""
    return {name: percentile_interval(v) if v else None for name, v in draws.items()}


@dataclass(frozen=True, eq=False)
class Highest:
    """All genuine pairs and the impostor pairs with the highest scores: four arrays (H,).

    `left` and `right` are the subjects of each pair, numbered from 0.
    """

    scores: npt.NDArray[Any]
    same: npt.NDArray[np.bool_]
    left: Integers
    right: Integers


def drawn_subjects(
    highest: Callable[[int], Highest],
    subjects: int,
    weigh: Callable[[npt.NDArray[Any]], float],
    impostors: int,
    fars: Sequence[float],
    replicates: int,
) -> dict[str, list[float]]:
    """Returns the TAR of each draw of subjects by the name of the FAR.

    The draws depend only on the number of subjects. So the draws of two models on the same pairs
    can be subtracted.

    Args:
        highest: returns at least that number of impostor pairs, if there are so many. It is called
            again with twice the number if a draw needs more.
        subjects: number of subjects.
        weigh: returns the weight of all impostor pairs for a draw, the counts (subjects,).
        impostors: number of impostor pairs.
        fars, replicates: see `subject_intervals`.
    """
    positive_int("replicates", replicates)
    values: dict[str, list[float]] = {far_name(far): [] for far in fars}
    resolved = [far for far in fars if 1 / impostors <= far]
    # FARs depend on the highest impostor scores only. Sorting just these saves most of the time.
    keep = int(1.2 * max(resolved, default=0) * impostors) + 1000
    found = None if resolved else values
    while found is None:
        found = _draw(highest(keep), subjects, weigh, resolved, replicates, keep >= impostors)
        keep *= 2
    return values | found


def _draw(
    pairs: Highest,
    subjects: int,
    weigh: Callable[[npt.NDArray[Any]], float],
    fars: Sequence[float],
    replicates: int,
    every: bool,
) -> dict[str, list[float]] | None:
    """Returns the TARs of all draws by FAR, or None if `pairs` has too few impostor pairs.

    `every` says that it has all of them.
    """
    values: dict[str, list[float]] = {far_name(far): [] for far in fars}
    # Highest scores first. At equal scores impostors come first, so a tie counts against us.
    order = np.lexsort((pairs.same, -pairs.scores))
    same, scores, left, right = (
        column[order] for column in (pairs.same, pairs.scores, pairs.left, pairs.right)
    )
    own = left == right
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    rng = np.random.default_rng(0)
    for _ in range(replicates):
        drawn = np.bincount(rng.integers(subjects, size=subjects), minlength=subjects) * 1.0
        weight = drawn[left] * np.where(own, 1, drawn[right])
        impostors = weigh(drawn)
        genuine = np.cumsum(np.where(same, weight, 0))
        if not impostors or not genuine[-1]:
            # A draw without pairs of one kind gives no rate.
            continue
        # Read the rates at the end of each run of equal scores: all of them pass, or none.
        far = np.cumsum(np.where(same, 0, weight))[ends] / impostors
        if far[-1] <= max(fars) and not every:
            return None
        for target in fars:
            last = int(np.searchsorted(far, target, side="right")) - 1
            tar = genuine[ends[last]] / genuine[-1] if last >= 0 else 0.0
            values[far_name(target)].append(float(tar))
    return values
