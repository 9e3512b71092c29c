"""MegaFace: finding an actor's other photos among up to a million strangers.

Every ordered pair of two photos of one actor is a search. The first photo is the probe. The second
is its only mate in a gallery of strangers, the distractors. The mate's rank is 1 + the number of
distractors that score at least as high. Verification takes the same pairs as genuine pairs, and
every photo with every distractor as an impostor pair. These are billions of pairs, so only the
highest scores are kept.
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
# Scores computed in one block: 64 MiB. Group features are compared in float64 and need three times
# as much.
_SCORES = 1 << 24
# The most impostor scores that are kept to find the thresholds.
_MOST_KEPT = 50_000_000

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Block = tuple[Floats, Floats | None]


@dataclass(frozen=True, eq=False)
class MegaFaceResult:
    """Results of identification and verification among distractors.

    Attributes:
        ranks, cmc: keyed by the number of distractors: (S,) the mate's rank in each search, and
            (R,) the identification rate at rank 1 … R.
        tar_at_far, threshold_at_far: verification among all distractors, keyed "1e-6". None below
            1 / impostors.
        probes, distractors: number of photos of actors, and number of distractors.
        impostor: number of pairs of a photo and a distractor.
        refined: whether the refined lists were used.
        skipped_files: the unreadable images, each with the reason.
        intervals: 95 % intervals over drawn actors, with fixed thresholds: {"rank_1":
            {distractors: …}, "tar_at_far": …}. None if not requested.
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
        """Rank-1 identification rate by number of distractors, the curve that papers show."""
        return {size: float(curve[0]) for size, curve in self.cmc.items()}

    @property
    def searches(self) -> int:
        """Number of searches: ordered pairs of two photos of one actor."""
        return len(next(iter(self.ranks.values())))

    def to_json(self) -> dict[str, Any]:
        """Returns the result for `json.dump`."""
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
        """Returns rows of (label, value) to print."""
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
    """Yields the embeddings of distractors, `size` images at a time, so memory stays small.

    `embed` takes a list of `images` and returns `ImageEmbeddings`. Unreadable images are left out
    and appended to `skipped`, each with the reason. The images after them move up.
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
    """Runs identification and verification, both exact, in one pass over the distractors.

    Args:
        embedding, group_feature: (P, D) and (P, G) or None, for the photos of actors.
        actors: P names, the actor of each photo.
        distractors: blocks of (embedding, group feature), such as `distractor_blocks` yields. Only
            one block has to be in memory.
        count: the largest number of distractors that may come.
        similarity, fars, replicates: see `evaluate_pairs`.
        sizes: numbers of distractors to search among, counted from the first. Sizes above the
            available number mean all of them.
        refined, skipped_files: copied into the result. The list may be filled while distractors
            are read.

    Raises:
        ValueError: if no actor has two photos, if there are no distractors, or if a score is not
            finite.
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
        # End a block wherever one of the sizes ends, because the ranks are copied there.
        cuts = {*range(0, len(faces), block), *(size - at for size in asked), len(faces)}
        for start, stop in itertools.pairwise(sorted(c for c in cuts if 0 <= c <= len(faces))):
            mine = None if groups is None else groups[start:stop]
            search.take(similarity.matrix(embedding, faces[start:stop], group_feature, mine))
            if at + stop in asked:
                ranks[at + stop] = search.rank
        at += len(faces)
    if not at:
        raise ValueError("`distractors` must hold at least one face. Received: no faces")
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
    """Returns (S,) probe and score of every ordered pair of one actor's photos, by probe."""
    probes, mates, scores = [], [], []
    order = np.argsort(actor, kind="stable")
    # Score actor by actor: only a small part of all pairs of photos shows one actor.
    for rows in np.split(order, np.flatnonzero(np.diff(actor[order])) + 1):
        groups = None if group is None else group[rows]
        first, second = np.nonzero(~np.eye(len(rows), dtype=np.bool_))
        found = similarity.matrix(embedding[rows], embedding[rows], groups, groups)
        probes.append(rows[first])
        mates.append(rows[second])
        scores.append(found[first, second])
    probe, genuine = np.concatenate(probes), np.concatenate(scores)
    if not len(probe):
        raise ValueError("MegaFace needs an actor with two photos. Received: no such actor")
    if not np.isfinite(genuine).all():
        raise ValueError("Embeddings of actors must be finite. Received: NaN or infinity")
    order = np.lexsort((np.concatenate(mates), probe))
    return probe[order], genuine[order]


class _Search:
    """Ranks and highest scores over the distractors seen so far."""

    def __init__(
        self, probes: int, probe: Integers, genuine: Floats, fars: Sequence[float], distractors: int
    ) -> None:
        for far in fars:
            if not 0 < far <= 1:
                raise ValueError(f"`fars` must be above 0 and at most 1. Received: {far!r}")
        self.genuine, self.impostor, self.most = genuine, 0, probes * distractors
        # One more than the most that may be accepted: thresholds have to exceed that score.
        self.keep = int(max(fars, default=0) * self.most) + 2
        if self.keep > _MOST_KEPT:
            raise ValueError(
                f"`fars` must be at most {_MOST_KEPT / self.most:.1e} for {self.most:,} impostor "
                f"pairs. Received: {max(fars):.1e}"
            )
        # The searches of one probe are neighbours, from ends[p] to ends[p + 1].
        self.ends = np.searchsorted(probe, np.arange(probes + 1))
        self.above = np.zeros(len(genuine), np.int64)
        self.highest = np.zeros(0, np.float32)
        self.waiting: list[Floats] = []
        self.floor = -np.inf

    @property
    def rank(self) -> Integers:
        """(S,) the mate's rank in each search so far."""
        return 1 + self.above

    def take(self, scores: Floats) -> None:
        """Adds (P, B) scores of all probes with some distractors. May reorder them in place."""
        if not np.isfinite(scores).all():
            raise ValueError("Embeddings of distractors must be finite. Received: NaN or infinity")
        self.impostor += scores.size
        if self.impostor > self.most:
            raise ValueError("`count` must be at least the number of distractors.")
        # Scores at or below the floor can no longer be among the highest `keep`.
        self.waiting.append(scores[scores > self.floor])
        # Partition rarely: only after collecting as many new scores as are kept.
        if sum(map(len, self.waiting)) > self.keep:
            self._settle()
        # Sorting a row once lets a binary search count the distractors for all mates of its probe.
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
        """Returns (TAR, threshold) at each FAR, as `metrics.operating_points` defines them."""
        self._settle()
        highest = np.sort(self.highest)[::-1]
        points: dict[str, tuple[float, float] | None] = {}
        for far in fars:
            if 1 / self.impostor > far:
                points[far_name(far)] = None
                continue
            # Start one too high: the product is a float and may be rounded down.
            allowed = int(far * self.impostor) + 1
            while allowed / self.impostor > far:
                allowed -= 1
            # A threshold has to be above the first impostor that must be refused.
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
    # Draw actors, not searches: the searches of one actor are not independent.
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
