"""1:N identification: the search for the person of a probe in a gallery.

A probe is mated where its subject is in the gallery. Terms, as NIST uses them: CMC, the share of
mated probes whose mate is among the first r; FPIR(t), the share of non-mated probes for which
somebody scores at least t; FNIR(t), the share of mated probes whose mate scores less than t or is
not among the first `max_rank`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.intervals import Interval, percentile_interval
from gfkeras.evaluation.metrics import far_name, parted

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)
# A candidate list has an end. At a low FPIR it is the threshold that decides, and not this.
MAX_RANK = 20

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SearchScores:
    """Scores and ranks of M mated and U non-mated probes, as identification needs them."""

    # (M,), the mate's score.
    mate: Floats
    # (M,), the mate's rank: 1 + how many others score at least as high; ties count against.
    rank: Integers
    # (U,), the highest score of anybody.
    impostor: Floats
    # (M,) and (U,), the subject of each probe.
    subject: Integers
    impostor_subject: Integers


def search_scores(
    blocks: Iterator[tuple[npt.NDArray[np.float32], Integers]], gallery: Integers
) -> SearchScores:
    """Goes through scores of probes with everybody in the gallery.

    `blocks` are (P, G) scores of some probes and their (P,) subjects; `gallery` (G,) is the subject
    of each gallery template, of several of one subject the best counts. An empty gallery and scores
    that are not finite raise ValueError.
    """
    if not len(gallery):
        raise ValueError("`gallery` must hold at least one template. Received: none")
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
    mated_columns: list[tuple[npt.NDArray[Any], ...]] = [(*nothing, nothing[1])]
    other_columns: list[tuple[npt.NDArray[Any], ...]] = [nothing]
    for scores, subject in blocks:
        if not np.isfinite(scores).all():
            raise ValueError("Scores of probes with the gallery must be finite. Received: NaN")
        mates = gallery == subject[:, None]
        mated = mates.any(axis=1)
        best = np.where(mates, scores, -np.inf).max(axis=1)
        above = ((scores >= best[:, None]) & ~mates).sum(axis=1)
        mated_columns.append((best[mated], 1 + above[mated], subject[mated]))
        other_columns.append((scores[~mated].max(axis=1), subject[~mated]))
    mate, rank, subjects = (np.concatenate(column) for column in zip(*mated_columns, strict=True))
    others, strangers = (np.concatenate(column) for column in zip(*other_columns, strict=True))
    mate, others = mate.astype(np.float64), others.astype(np.float64)
    return SearchScores(mate, rank, others, subjects, strangers)


def cumulative_match(rank: Integers, length: int = 100) -> Floats:
    """CMC (length,): the share of mated probes whose mate is among the first 1, 2, … r."""
    if not len(rank):
        raise ValueError("Identification needs at least one probe whose subject is in the gallery.")
    counts = np.bincount(np.minimum(rank, length + 1), minlength=length + 2)[1 : length + 1]
    return np.cumsum(counts) / len(rank)


def identification_errors(
    scores: SearchScores, max_rank: int = MAX_RANK
) -> tuple[Floats, Floats, Floats]:
    """(FPIR, FNIR, thresholds) at every threshold that is a score, FPIR rising from 0.

    Exact: between two thresholds nothing changes. The first lies just above every score. Without
    mated or without non-mated probes this raises ValueError.
    """
    mated, others = len(scores.mate), len(scores.impostor)
    if not mated or not others:
        raise ValueError(
            "Identification errors need at least one mated and one non-mated probe. "
            f"Received: {mated} mated, {others} non-mated"
        )
    listed = scores.mate[scores.rank <= max_rank]
    thresholds = np.unique(np.concatenate([listed, scores.impostor]))[::-1]
    thresholds = np.concatenate([[np.nextafter(thresholds[0], np.inf)], thresholds])
    # Counts are divided once: 1 / 100 is the float 0.01, which 1 − 99 / 100 is not.
    fnir = (mated - _reaching(listed, thresholds)) / mated
    return _reaching(scores.impostor, thresholds) / others, fnir, thresholds


def fnir_at_fpir(
    scores: SearchScores, fpirs: Sequence[float] = FPIRS, max_rank: int = MAX_RANK
) -> dict[str, tuple[float, float] | None]:
    """(FNIR, threshold) of the least FNIR whose FPIR is at most each target; None below 1 /
    non-mated.
    """
    found: dict[str, tuple[float, float] | None] = {}
    if len(scores.impostor):
        fpir, fnir, thresholds = identification_errors(scores, max_rank)
    for target in fpirs:
        if not 0 < target <= 1:
            raise ValueError(f"`fpirs` must lie above 0 and at most at 1. Received: {target!r}")
        if not len(scores.impostor) or 1 / len(scores.impostor) > target:
            found[far_name(target)] = None
            continue
        last = int(np.searchsorted(fpir, target, side="right")) - 1
        found[far_name(target)] = float(fnir[last]), float(thresholds[last])
    return found


@dataclass(frozen=True, eq=False)
class IdentificationResult:
    """Results of one gallery.

    Attributes:
        scores: of each probe.
        cmc: (R,) identification rate at rank 1, 2, … R.
        rank: identification rate keyed "1", "5", "10".
        fnir_at_fpir, threshold_at_fpir: keyed "1e-2"; None with too few non-mated probes.
        max_rank: how long a candidate list is.
        gallery: how many templates it holds.
        skipped: probes left out: no image of theirs, or of their mate, could be read.
        intervals: 95 % intervals, {"rank": …, "fnir_at_fpir": …}; None where not asked for.
    """

    scores: SearchScores
    cmc: Floats
    rank: dict[str, float]
    fnir_at_fpir: dict[str, float | None]
    threshold_at_fpir: dict[str, float | None]
    max_rank: int
    gallery: int
    skipped: int = 0
    intervals: dict[str, dict[str, Interval | None]] | None = None

    @property
    def mated(self) -> int:
        """Number of mated probes."""
        return len(self.scores.mate)

    @property
    def non_mated(self) -> int:
        """Number of non-mated probes."""
        return len(self.scores.impostor)

    def to_json(self) -> dict[str, Any]:
        """Everything but single scores, for `json.dump`."""
        return {
            "rank": self.rank,
            "fnir_at_fpir": self.fnir_at_fpir,
            "threshold_at_fpir": self.threshold_at_fpir,
            "max_rank": self.max_rank,
            "cmc": self.cmc.tolist(),
            "intervals": self.intervals,
            "gallery": self.gallery,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "skipped": self.skipped,
        }


def identification_result(
    scores: SearchScores,
    gallery: int,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    max_rank: int = MAX_RANK,
    replicates: int = 0,
    skipped: int = 0,
) -> IdentificationResult:
    """The results of one gallery of so many templates; ValueError without a mated probe.

    `replicates` are draws of the bootstrap over the probes' subjects, 0 for no intervals.
    """
    cmc = cumulative_match(scores.rank, max(100, *ranks))
    rates = {str(rank): float(cmc[rank - 1]) for rank in ranks}
    points = parted(fnir_at_fpir(scores, fpirs, max_rank))
    drawn = _intervals(scores, ranks, fpirs, max_rank, replicates) if replicates else None
    return IdentificationResult(scores, cmc, rates, *points, max_rank, gallery, skipped, drawn)


def _intervals(
    scores: SearchScores,
    ranks: Sequence[int],
    fpirs: Sequence[float],
    max_rank: int,
    replicates: int,
) -> dict[str, dict[str, Interval | None]]:
    rng = np.random.default_rng(0)
    names, number = np.unique(
        np.concatenate([scores.subject, scores.impostor_subject]), return_inverse=True
    )
    mated, others = number[: len(scores.mate)], number[len(scores.mate) :]
    values: dict[str, dict[str, list[float]]] = {
        "rank": {str(rank): [] for rank in ranks},
        "fnir_at_fpir": {far_name(fpir): [] for fpir in fpirs},
    }
    for _ in range(replicates):
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        again = SearchScores(
            np.repeat(scores.mate, weight[mated]),
            np.repeat(scores.rank, weight[mated]),
            np.repeat(scores.impostor, weight[others]),
            mated,
            others,
        )
        if not len(again.rank):
            continue
        for rank in ranks:
            values["rank"][str(rank)].append(float((again.rank <= rank).mean()))
        for name, point in fnir_at_fpir(again, fpirs, max_rank).items():
            if point is not None:
                values["fnir_at_fpir"][name].append(point[0])
    return {
        kind: {name: percentile_interval(found) if found else None for name, found in drawn.items()}
        for kind, drawn in values.items()
    }


def _reaching(scores: Floats, thresholds: Floats) -> Integers:
    """The number of scores that are at least each threshold."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
