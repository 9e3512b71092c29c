"""MegaFace: finding an actor's other photos among up to a million strangers.

Every ordered pair of two photos of one actor is a search: the first is the probe, the second the
one mate in a gallery of strangers (the distractors). The mate's rank is 1 + how many distractors
score at least as high. Verification takes the same pairs as genuine, and every photo with every
distractor as impostor: billions, of which only the highest scores are kept.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import positive_int
from gfkeras.evaluation.embedded import Embed, embed_images
from gfkeras.evaluation.identification import cumulative_match
from gfkeras.evaluation.intervals import Interval, interval_text, percentile_interval, tar_rows
from gfkeras.evaluation.metrics import far_name, parted
from gfkeras.evaluation.similarity import COSINE, Similarity

RANKS = (1, 10)
SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
FARS = (1e-4, 1e-5, 1e-6)
# Scores found at once: 64 MiB, and three times that for group features, which are compared in
# float64.
_SCORES = 1 << 24
# Impostor scores that may be kept to find the thresholds of FARs.
_MOST_KEPT = 50_000_000

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Block = tuple[Floats, Floats | None]


@dataclass(frozen=True, eq=False)
class MegaFaceResult:
    """Identification and verification among distractors.

    Attributes:
        ranks, cmc: {number of distractors: (S,) rank of the mate in each search, and (R,)
            identification rate at rank 1 … R}.
        tar_at_far, threshold_at_far: verification among all distractors, keyed "1e-6"; None below 1
            / impostors.
        probes, distractors: photos of actors, and how many distractors there were.
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

    @property
    def searches(self) -> int:
        """Number of genuine pairs, each way round."""
        return len(next(iter(self.ranks.values())))

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
            "searches": self.searches,
            "impostor": self.impostor,
            "refined": self.refined,
            "skipped_files": [[str(name), reason] for name, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Rows of (label, value) to print."""
        known = self.intervals or {}
        first = known.get("rank_1", {})
        return [
            *(
                (f"Rank-1, {n:,} distractors", f"{rate:.2%}" + interval_text(first.get(str(n))))
                for n, rate in self.rank_1.items()
            ),
            *tar_rows(self.tar_at_far, known.get("tar_at_far", {})),
            ("Photos of actors", f"{self.probes:,}, {self.searches:,} searches"),
            ("Distractors", f"{self.distractors:,}" + (", refined lists" if self.refined else "")),
            ("Impostor pairs", f"{self.impostor:,}"),
            ("Skipped", f"{len(self.skipped_files):,} images"),
        ]


def distractor_blocks(
    embed: Embed, images: Iterable[Any], skipped: list[tuple[Any, str]], size: int = 16_384
) -> Iterator[Block]:
    """Embeds distractors, `size` at once, as they are asked for, so that a million are never held.

    Those that cannot be read are left out, and the ones behind them move up; `skipped` is filled
    with each and the reason. `embed` takes a list of `images` and returns `ImageEmbeddings`.
    """
    positive_int("size", size)
    left = iter(images)
    while some := list(itertools.islice(left, size)):
        faces = embed_images(embed, some, some_readable=False)
        skipped += faces.skipped
        if len(faces.embedding):
            yield faces.embedding, faces.group_feature


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
        embedding, group_feature: (P, D) and (P, G) or None, of the photos of actors.
        actors: P names, the actor of each photo.
        distractors: (embedding, group feature) of some distractors after others, of
            `distractor_blocks`; only one block has to be in memory.
        count: how many distractors there are at most.
        similarity, fars, replicates: as of `evaluate_pairs`.
        sizes: how many distractors, the first ones, to look among; larger ones than there are
            become all.
        refined, skipped_files: to be stated in the result; a list may be filled while distractors
            are read.

    Raises:
        ValueError: without an actor with two photos, without distractors, or for a score that is
            not finite.
    """
    if len(actors) != len(embedding):
        raise ValueError(
            f"`actors` must name the actor of each of {len(embedding)} photos. "
            f"Received: {len(actors)}"
        )
    asked, at = sorted({positive_int("sizes", size) for size in sizes}), 0
    names, actor = np.unique(np.asarray(actors, np.str_), return_inverse=True)
    probe, genuine = _genuine(embedding, group_feature, actor, similarity)
    search = _Search(len(embedding), probe, genuine, fars, positive_int("count", count))
    block = max(1, _SCORES // len(embedding))
    ranks: dict[int, Integers] = {}
    for faces, groups in distractors:
        # Cut where a size that was asked for ends.
        cuts = {*range(0, len(faces), block), *(size - at for size in asked), len(faces)}
        for start, stop in itertools.pairwise(sorted(c for c in cuts if 0 <= c <= len(faces))):
            mine = None if groups is None else groups[start:stop]
            search.take(similarity.matrix(embedding, faces[start:stop], group_feature, mine))
            if at + stop in asked:
                ranks[at + stop] = search.rank
        at += len(faces)
    if not at:
        raise ValueError("`distractors` must hold at least one face. Received: none")
    if not asked or asked[-1] > at:
        ranks[at] = search.rank
    cmc = {size: cumulative_match(rank) for size, rank in ranks.items()}
    points = parted(search.operating_points(fars))
    counts = len(embedding), at, at * len(embedding)
    result = MegaFaceResult(ranks, cmc, *points, *counts, refined, skipped_files)
    if not replicates:
        return result
    intervals = _intervals(result, genuine, actor[probe], len(names), replicates)
    return dataclasses.replace(result, intervals=intervals)


def _genuine(
    embedding: Floats, group: Floats | None, actor: Integers, similarity: Similarity
) -> tuple[Integers, Floats]:
    """(S,) the probe and the score of every photo with every other of its actor, probe by probe."""
    probes, mates, scores = [], [], []
    order = np.argsort(actor, kind="stable")
    # By the actor: of all photos with all others, few are of one actor.
    for rows in np.split(order, np.flatnonzero(np.diff(actor[order])) + 1):
        groups = None if group is None else group[rows]
        first, second = np.nonzero(~np.eye(len(rows), dtype=np.bool_))
        found = similarity.matrix(embedding[rows], embedding[rows], groups, groups)
        probes.append(rows[first])
        mates.append(rows[second])
        scores.append(found[first, second])
    probe, genuine = np.concatenate(probes), np.concatenate(scores)
    if not len(probe):
        raise ValueError("MegaFace needs an actor with two photos. Received: none")
    if not np.isfinite(genuine).all():
        raise ValueError("Embeddings of actors must be finite. Received: NaN")
    order = np.lexsort((np.concatenate(mates), probe))
    return probe[order], genuine[order]


class _Search:
    """Ranks and highest scores over the distractors seen so far."""

    def __init__(
        self, probes: int, probe: Integers, genuine: Floats, fars: Sequence[float], distractors: int
    ) -> None:
        for far in fars:
            if not 0 < far <= 1:
                raise ValueError(f"`fars` must lie above 0 and at most at 1. Received: {far!r}")
        self.genuine, self.impostor, self.most = genuine, 0, probes * distractors
        # One more than may be accepted in the end: that one is what thresholds have to exceed.
        self.keep = int(max(fars, default=0) * self.most) + 2
        if self.keep > _MOST_KEPT:
            raise ValueError(
                f"`fars` must be at most {_MOST_KEPT / self.most:.1e} for {self.most:,} impostor "
                f"pairs. Received: {max(fars):.1e}"
            )
        # The searches of a probe side by side.
        self.ends = np.searchsorted(probe, np.arange(probes + 1))
        self.above = np.zeros(len(genuine), np.int64)
        self.highest = np.zeros(0, np.float32)
        self.waiting: list[Floats] = []
        self.floor = -np.inf

    @property
    def rank(self) -> Integers:
        """(S,) the mate's rank in each search."""
        return 1 + self.above

    def take(self, scores: Floats) -> None:
        """(P, B) scores of all probes with some distractors, which it may reorder."""
        if not np.isfinite(scores).all():
            raise ValueError("Embeddings of distractors must be finite. Received: NaN")
        self.impostor += scores.size
        if self.impostor > self.most:
            raise ValueError("`count` must be at least the number of distractors.")
        self.waiting.append(scores[scores > self.floor])
        if sum(map(len, self.waiting)) > self.keep:
            self._settle()
        scores.sort(axis=1)
        for row, (start, stop) in enumerate(itertools.pairwise(self.ends)):
            if start < stop:
                below = np.searchsorted(scores[row], self.genuine[start:stop], side="left")
                self.above[start:stop] += scores.shape[1] - below

    def _settle(self) -> None:
        self.highest = np.concatenate([self.highest, *self.waiting])
        self.waiting = []
        if len(self.highest) >= self.keep:
            cut = len(self.highest) - self.keep
            self.highest = np.partition(self.highest, cut)[cut:]
            self.floor = self.highest[0]

    def operating_points(self, fars: Sequence[float]) -> dict[str, tuple[float, float] | None]:
        """(TAR, threshold) at each FAR, as `metrics.operating_points`."""
        self._settle()
        highest = np.sort(self.highest)[::-1]
        points: dict[str, tuple[float, float] | None] = {}
        for far in fars:
            if 1 / self.impostor > far:
                points[far_name(far)] = None
                continue
            allowed = int(far * self.impostor) + 1
            while allowed / self.impostor > far:
                allowed -= 1
            # What scores no more than the first impostor too many cannot be accepted.
            bound = highest[allowed] if allowed < self.impostor else np.float32(-np.inf)
            genuine = self.genuine[self.genuine > bound]
            accepted = np.concatenate([highest[highest > bound], genuine])
            least = accepted.min(initial=np.inf)
            threshold = float(least) if len(accepted) else float(np.nextafter(bound, np.inf))
            points[far_name(far)] = len(genuine) / len(self.genuine), threshold
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
