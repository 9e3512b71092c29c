"""MegaFace: finding an actor's other photos among up to a million strangers.

Every ordered pair of two photos of one actor is a search: the first is the probe, the second the
one mate in a gallery of strangers (the distractors). The mate's rank is 1 + how many distractors
score at least as high. Verification takes the same pairs as genuine, and every photo with every
distractor as impostor: billions, of which only the highest scores are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import positive_int
from gfkeras.evaluation.identification import cumulative_match
from gfkeras.evaluation.intervals import Interval, interval_text, percentile_interval
from gfkeras.evaluation.metrics import far_name
from gfkeras.evaluation.similarity import COSINE, Similarity

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
FARS = (1e-4, 1e-5, 1e-6)
RANKS = (1, 10)
# Distractors scored at once.
_BLOCK = 16_384
# Impostor scores that may be kept to find the thresholds of FARs.
_MOST_KEPT = 50_000_000

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
# Embeddings and group features (or None) of some distractors.
Block = tuple[Floats, Floats | None]


@dataclass(frozen=True, eq=False)
class MegaFaceResult:
    """Identification and verification among distractors.

    Attributes:
        ranks: {number of distractors: (S,) rank of the mate in each search}.
        cmc: {number of distractors: (R,) identification rate at rank 1 … R}.
        tar_at_far: verification, among all distractors, keyed "1e-6"; None below 1 / impostors.
        threshold_at_far: likewise.
        probes: photos of actors.
        distractors: how many there were.
        impostor: pairs of a photo and a distractor.
        refined: whether the refined lists were used.
        skipped_files: images not read, each with the reason.
        intervals: 95 % intervals, actors drawn: {"rank_1": {distractors: …}, "tar_at_far": …}, the
            thresholds kept; None where not asked for.
    """

    ranks: dict[int, Integers]
    cmc: dict[int, npt.NDArray[np.float64]]
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    probes: int
    distractors: int
    impostor: int
    refined: bool = False
    skipped_files: Sequence[tuple[Any, str]] = ()
    intervals: dict[str, dict[str, Interval | None]] | None = None

    @property
    def rank_1(self) -> dict[int, float]:
        """Rank-1 identification rate by the number of distractors: the published curve."""
        return {size: float(curve[0]) for size, curve in self.cmc.items()}

    def to_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return {
            "rank": {
                str(size): {str(rank): float(curve[rank - 1]) for rank in RANKS}
                for size, curve in self.cmc.items()
            },
            "tar_at_far": self.tar_at_far,
            "threshold_at_far": self.threshold_at_far,
            "intervals": self.intervals,
            "probes": self.probes,
            "distractors": self.distractors,
            "searches": len(next(iter(self.ranks.values()))),
            "impostor": self.impostor,
            "refined": self.refined,
            "skipped_files": [[str(name), reason] for name, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Rows of (label, value) to print."""
        known = self.intervals or {}
        rows = [
            (
                f"Rank-1, {size:,} distractors",
                f"{value:.2%}" + interval_text(known.get("rank_1", {}).get(str(size))),
            )
            for size, value in self.rank_1.items()
        ]
        rows += [
            (
                f"TAR @ FAR {name}",
                "too few impostor pairs"
                if tar is None
                else f"{tar:.2%}" + interval_text(known.get("tar_at_far", {}).get(name)),
            )
            for name, tar in self.tar_at_far.items()
        ]
        searches = len(next(iter(self.ranks.values())))
        return [
            *rows,
            ("Photos of actors", f"{self.probes:,}, {searches:,} searches"),
            ("Distractors", f"{self.distractors:,}" + (", refined lists" if self.refined else "")),
            ("Impostor pairs", f"{self.impostor:,}"),
            ("Skipped", f"{len(self.skipped_files):,} images"),
        ]


def evaluate_megaface(
    embedding: Floats,
    group_feature: Floats | None,
    actors: Sequence[Any],
    distractors: Iterable[Block],
    count: int,
    similarity: Similarity = COSINE,
    sizes: Sequence[int] = SIZES,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
    refined: bool = False,
    skipped_files: Sequence[tuple[Any, str]] = (),
) -> MegaFaceResult:
    """Both parts of the challenge, exact, in one pass over the distractors.

    Args:
        embedding: (P, D) of the photos of actors.
        group_feature: (P, G), or None.
        actors: P names, the actor of each photo.
        distractors: (embedding, group feature) of some distractors after others: of however many
            there are, only one block has to be in memory.
        count: how many distractors there are at most.
        similarity: the cosine or group-aware.
        sizes: how many distractors to look among; larger ones than there are become all.
        fars: of verification.
        replicates: draws of the bootstrap; 0 leaves intervals out.
        refined: to be stated in the result.
        skipped_files: to be listed in the result.

    Raises:
        ValueError: without an actor with two photos, without distractors, or for a score that is
            not finite.
    """
    names, actor = np.unique(np.asarray(actors, np.str_), return_inverse=True)
    probe, mate = np.nonzero((actor[:, None] == actor) & ~np.eye(len(actor), dtype=np.bool_))
    if not len(probe):
        raise ValueError("MegaFace needs an actor with two photos. Received: none")
    groups = None if group_feature is None else group_feature
    genuine = similarity.matrix(embedding, embedding, groups, groups)[probe, mate]
    if not np.isfinite(genuine).all():
        raise ValueError("Embeddings of actors must be finite. Received: NaN")
    search = _Search(len(embedding), probe, genuine, max(fars), positive_int("count", count))
    asked, at = sorted(set(sizes)), 0
    ranks: dict[int, Integers] = {}
    for block, group in distractors:
        for start in range(0, len(block), _BLOCK):
            part = slice(start, start + _BLOCK)
            mine = None if group is None else group[part]
            scores = similarity.matrix(embedding, block[part], group_feature, mine)
            # A block is cut where a size that was asked for ends.
            for cut in np.split(
                scores, [s - at for s in asked if at < s < at + scores.shape[1]], 1
            ):
                search.take(cut)
                at += cut.shape[1]
                if at in asked:
                    ranks[at] = search.rank.copy()
    if not at:
        raise ValueError("`distractors` must hold at least one face. Received: none")
    if asked[-1] > at:
        ranks[at] = search.rank.copy()
    points = search.operating_points(fars)
    result = MegaFaceResult(
        ranks,
        {size: cumulative_match(rank) for size, rank in ranks.items()},
        {name: point and point[0] for name, point in points.items()},
        {name: point and point[1] for name, point in points.items()},
        len(embedding),
        at,
        at * len(embedding),
        refined,
        skipped_files,
    )
    if not replicates:
        return result
    owner = actor[probe]
    return dataclasses.replace(
        result, intervals=_intervals(result, genuine, owner, len(names), replicates)
    )


class _Search:
    """What has to be known of the distractors seen so far.

    Attributes:
        rank: (S,) the mate's rank in each search.
    """

    def __init__(
        self, probes: int, probe: Integers, genuine: Floats, far: float, distractors: int
    ) -> None:
        self.genuine, self.impostor, self.most = genuine, 0, probes * distractors
        # One more than may be accepted in the end, so that a tie at the border is seen.
        self.keep = int(far * self.most) + 2
        if self.keep > _MOST_KEPT:
            raise ValueError(
                f"`fars` must be at most {_MOST_KEPT / self.most:.1e} for {self.most:,} impostor "
                f"pairs. Received: {far:.1e}"
            )
        # The searches of a probe side by side, their mates' scores ascending.
        self.order = np.lexsort((genuine, probe))
        self.ends = np.searchsorted(probe[self.order], np.arange(probes + 1))
        self.sorted = genuine[self.order]
        self.above = np.zeros(len(genuine), np.int64)
        self.highest = np.zeros(0, np.float32)

    @property
    def rank(self) -> Integers:
        rank = np.empty(len(self.above), np.int64)
        rank[self.order] = 1 + self.above
        return rank

    def take(self, scores: Floats) -> None:
        """(P, B) scores of all probes with some distractors."""
        if not np.isfinite(scores).all():
            raise ValueError("Embeddings of distractors must be finite. Received: NaN")
        for row, (start, stop) in enumerate(zip(self.ends, self.ends[1:], strict=False)):
            if start < stop:
                # A distractor stands above every mate that scores no more than it.
                reached = np.searchsorted(self.sorted[start:stop], scores[row], side="right")
                counts = np.bincount(reached, minlength=stop - start + 1)
                self.above[start:stop] += counts[::-1].cumsum()[::-1][1:]
        self.impostor += scores.size
        if self.impostor > self.most:
            raise ValueError("`count` must be at least the number of distractors.")
        new = scores.reshape(-1)
        if len(self.highest) >= self.keep:
            new = new[new > self.highest.min()]
        self.highest = np.concatenate([self.highest, new])
        if len(self.highest) > self.keep:
            cut = len(self.highest) - self.keep
            self.highest = np.partition(self.highest, cut)[cut:]

    def operating_points(self, fars: Sequence[float]) -> dict[str, tuple[float, float] | None]:
        """(TAR, threshold) at each FAR, as `metrics.operating_points`."""
        highest = np.sort(self.highest)[::-1].astype(np.float64)
        points: dict[str, tuple[float, float] | None] = {}
        for far in fars:
            allowed = int(np.floor(far * self.impostor * (1 + 1e-12)))
            if not allowed:
                points[far_name(far)] = None
                continue
            threshold = float(highest[min(allowed, len(highest)) - 1])
            if allowed < len(highest) and highest[allowed] == threshold:
                # A tie that is accepted as a whole would be too many: none of it is.
                above = highest[highest > threshold]
                threshold = float(above[-1]) if len(above) else np.nextafter(threshold, np.inf)
            points[far_name(far)] = float((self.genuine >= threshold).mean()), threshold
        return points


def _intervals(
    result: MegaFaceResult, genuine: Floats, owner: Integers, actors: int, replicates: int
) -> dict[str, dict[str, Interval | None]]:
    rng = np.random.default_rng(0)
    drawn = [
        np.bincount(rng.integers(actors, size=actors), minlength=actors) for _ in range(replicates)
    ]
    total = np.bincount(owner, minlength=actors)

    def interval(hit: npt.NDArray[np.bool_]) -> Interval:
        hits = np.bincount(owner, weights=hit, minlength=actors)
        return percentile_interval([w @ hits / (w @ total) for w in drawn if w @ total])

    return {
        "rank_1": {str(size): interval(rank == 1) for size, rank in result.ranks.items()},
        "tar_at_far": {
            name: None if threshold is None else interval(genuine >= threshold)
            for name, threshold in result.threshold_at_far.items()
        },
    }
