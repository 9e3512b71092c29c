"""1:N identification: searching a gallery for the person in a probe.

A probe is *mated* if its subject is in the gallery. The metrics are those of NIST. CMC is the share
of mated probes whose mate is among the first r candidates. FPIR(t) is the share of non-mated probes
for which some candidate scores at least t. FNIR(t) is the share of mated probes whose mate scores
less than t or is not among the first `max_rank` candidates.
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
# The length of a candidate list. At a low FPIR the threshold matters, and this limit does not.
MAX_RANK = 20

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SearchScores:
    """Scores and ranks of M mated and U non-mated probes."""

    # (M,) the mate's score.
    mate: Floats
    # (M,) the mate's rank: 1 + how many others score at least as high. Ties count against the mate.
    rank: Integers
    # (U,) the highest score in the gallery.
    impostor: Floats
    # (M,) and (U,) the subject of each probe.
    subject: Integers
    impostor_subject: Integers


def search_scores(
    blocks: Iterator[tuple[npt.NDArray[np.float32], Integers]], gallery: Integers
) -> SearchScores:
    """Collects the scores and ranks of probes that were compared with the whole gallery.

    `blocks` yields (P, G) scores of some probes and their (P,) subjects. `gallery` (G,) is the
    subject of each gallery template. If a subject has several templates, the best score counts.
    Raises ValueError if the gallery is empty or a score is not finite.
    """
    if not len(gallery):
        raise ValueError("`gallery` must hold at least one template. Received: no templates")
    # Empty first columns keep the concatenation below valid if there are no probes of one kind.
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
    mated_columns: list[tuple[npt.NDArray[Any], ...]] = [(*nothing, nothing[1])]
    other_columns: list[tuple[npt.NDArray[Any], ...]] = [nothing]
    for scores, subject in blocks:
        if not np.isfinite(scores).all():
            raise ValueError("Scores of probes must be finite. Received: NaN or infinity")
        mates = gallery == subject[:, None]
        mated = mates.any(axis=1)
        # A non-mated probe has no mate and gets −inf, which is never used.
        best = np.where(mates, scores, -np.inf).max(axis=1)
        above = ((scores >= best[:, None]) & ~mates).sum(axis=1)
        mated_columns.append((best[mated], 1 + above[mated], subject[mated]))
        other_columns.append((scores[~mated].max(axis=1), subject[~mated]))
    mate, rank, subjects = (np.concatenate(column) for column in zip(*mated_columns, strict=True))
    others, strangers = (np.concatenate(column) for column in zip(*other_columns, strict=True))
    mate, others = mate.astype(np.float64), others.astype(np.float64)
    return SearchScores(mate, rank, others, subjects, strangers)


def cumulative_match(rank: Integers, length: int = 100) -> Floats:
    """Returns the CMC (length,): the share of mated probes with the mate among the first 1, 2, …"""
    if not len(rank):
        raise ValueError("Identification needs at least one probe whose subject is in the gallery.")
    # Ranks beyond `length` share one last bin, which is cut off.
    counts = np.bincount(np.minimum(rank, length + 1), minlength=length + 2)[1 : length + 1]
    return np.cumsum(counts) / len(rank)


def identification_errors(
    scores: SearchScores, max_rank: int = MAX_RANK
) -> tuple[Floats, Floats, Floats]:
    """Returns (FPIR, FNIR, thresholds) at every distinct score, with FPIR rising from 0.

    The curves are exact, because nothing changes between two scores. The first threshold is just
    above every score. Raises ValueError without mated or without non-mated probes.
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
    # Divide counts only once: 1 / 100 is the same float as 0.01, but 1 − 99 / 100 is not.
    fnir = (mated - _reaching(listed, thresholds)) / mated
    return _reaching(scores.impostor, thresholds) / others, fnir, thresholds


def fnir_at_fpir(
    scores: SearchScores, fpirs: Sequence[float] = FPIRS, max_rank: int = MAX_RANK
) -> dict[str, tuple[float, float] | None]:
    """Returns (FNIR, threshold) for each target: the lowest FNIR with FPIR at most the target.

    A target below 1 / non-mated probes gives None: there are too few probes to measure it.
    """
    found: dict[str, tuple[float, float] | None] = {}
    if len(scores.impostor):
        fpir, fnir, thresholds = identification_errors(scores, max_rank)
    for target in fpirs:
        if not 0 < target <= 1:
            raise ValueError(f"`fpirs` must be above 0 and at most 1. Received: {target!r}")
        if not len(scores.impostor) or 1 / len(scores.impostor) > target:
            found[far_name(target)] = None
            continue
        # FPIR rises and FNIR falls along the curve, so the last allowed point has the lowest FNIR.
        last = int(np.searchsorted(fpir, target, side="right")) - 1
        found[far_name(target)] = float(fnir[last]), float(thresholds[last])
    return found


@dataclass(frozen=True, eq=False)
class IdentificationResult:
    """Results of searches in one gallery.

    Attributes:
        scores: scores and ranks of the probes.
        cmc: (R,) identification rate at rank 1, 2, … R.
        rank: identification rate keyed "1", "5", "10".
        fnir_at_fpir, threshold_at_fpir: keyed "1e-2". None if there are too few non-mated probes.
        max_rank: length of a candidate list.
        gallery: number of templates in the gallery.
        skipped: probes left out because no image of theirs, or of their mate, was readable.
        intervals: 95 % intervals, {"rank": …, "fnir_at_fpir": …}. None if not requested.
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
        """Returns everything but single scores, for `json.dump`."""
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
    """Returns the results of a gallery with `gallery` templates.

    `replicates` is the number of bootstrap draws over the probes' subjects. 0 gives no intervals.
    Raises ValueError without a mated probe.
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
    # Draw subjects, not probes: the probes of one person are not independent.
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
            # This draw holds no mated probe, so it has no rates.
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
