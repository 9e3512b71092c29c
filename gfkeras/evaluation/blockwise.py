"""Every pair of a labelled set, scored in blocks with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embedded
from gfkeras.evaluation.intervals import Highest, draw_intervals, drawn_subjects
from gfkeras.evaluation.metrics import (
    FARS,
    Roc,
    far_name,
    kfold_of_counts,
    operating_points,
    parted,
    roc_of_counts,
)
from gfkeras.evaluation.pair_list import AllPairs
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.similarity import COSINE, Similarity

# Scores are counted in bins. A cosine's bins are 4e-6 wide, and thresholds are their edges, so
# every rate is that of its threshold, to the rounding of a product in float32.
BINS = 1 << 19
# Pairs scored at a time. This bounds the memory, whatever the number of images.
_BLOCK = 1 << 21
_FOLDS = 10
Rows = npt.NDArray[np.int64]
# Intervals examine the highest impostor pairs one by one, at most so many.
_EXAMINED = 2_000_000


@dataclass(frozen=True, eq=False)
class EmbeddedAllPairs:
    """Every pair of the readable files. Scores are computed again for each use and not kept.

    The rates are exact for thresholds 4e-6 apart. Pairs take turns in the folds of the accuracy.
    """

    faces: Embedded
    # (M,) the person of each row of `faces`.
    person: npt.NDArray[np.int64]
    # Number of pairs that were left out.
    skipped: int = 0

    @classmethod
    def of(cls, faces: Embedded, pairs: AllPairs) -> EmbeddedAllPairs:
        """Returns the pairs of embedded files.

        Raises ValueError if the readable files have no genuine or no impostor pair.
        """
        readable = np.flatnonzero(faces.row >= 0)
        kept = AllPairs([pairs.paths[i] for i in readable.tolist()], pairs.person[readable])
        return cls(faces, kept.person, len(pairs) - len(kept))

    def measure(
        self, similarity: Similarity = COSINE, fars: Sequence[float] = FARS, replicates: int = 0
    ) -> PairsResult:
        """Returns the result of `evaluate_pairs` for these pairs.

        Intervals draw people. TAR has them where a FAR accepts at most two million impostor pairs.
        Drawing pairs would understate the uncertainty, because each person is in thousands of them.
        """
        scored = _Scored(self.faces, self.person, similarity)
        counts = scored.counts()
        curve = roc_of_counts(scored.edges, *counts.sum(axis=0))
        tars, thresholds = parted(operating_points(curve, fars))
        draws = scored.draws(curve, fars, replicates) if replicates else None
        # Between the centres of two bins lies the edge that parts them exactly.
        centres = scored.edges + scored.width / 2
        return PairsResult(
            curve=curve,
            folds=kfold_of_counts(centres, counts),
            balanced_folds=kfold_of_counts(centres, counts, balanced=True),
            tar_at_far=tars,
            threshold_at_far=thresholds,
            skipped=self.skipped,
            skipped_files=self.faces.skipped,
            intervals=None if draws is None else {"tar_at_far": draw_intervals(draws)},
            tar_draws=draws,
        )


@dataclass(frozen=True, eq=False)
class _Scored:
    """The pairs with a similarity."""

    faces: Embedded
    person: npt.NDArray[np.int64]
    similarity: Similarity

    @property
    def width(self) -> float:
        """Width of a bin."""
        # Rounding can lift a cosine a little above 1.
        return (1 + 1e-5 - self.similarity.least) / BINS

    @property
    def edges(self) -> npt.NDArray[Any]:
        """(BINS,) lower edge of each bin."""
        return np.arange(BINS) * self.width + self.similarity.least

    def blocks(self) -> Iterator[tuple[npt.NDArray[np.float32], Rows, Rows]]:
        """Yields the scores of a block of pairs, and the rows (first < second) of their faces."""
        embedding, group = self.faces.embedding, self.faces.group_feature
        count, start = len(embedding), 0
        while start < count - 1:
            stop = min(start + max(1, _BLOCK // (count - start)), count - 1)
            groups = (None, None) if group is None else (group[start:stop], group[start:])
            scores = self.similarity.matrix(embedding[start:stop], embedding[start:], *groups)
            upper = np.triu(np.ones(scores.shape, np.bool_), 1)
            rows, columns = np.nonzero(upper)
            yield scores[upper], rows + start, columns + start
            start = stop

    def counts(self) -> npt.NDArray[np.int64]:
        """(folds, 2, BINS) numbers of impostor and of genuine pairs by score."""
        sizes = np.bincount(self.person)
        genuine = int((sizes * (sizes - 1) // 2).sum())
        impostor = len(self.person) * (len(self.person) - 1) // 2 - genuine
        folds = max(2, min(_FOLDS, genuine, impostor))
        found = np.zeros(folds * 2 * BINS, np.int64)
        seen = [0, 0]
        for scores, first, second in self.blocks():
            bins = ((scores - self.similarity.least) / self.width).astype(np.int64)
            np.clip(bins, 0, BINS - 1, out=bins)
            same = self.person[first] == self.person[second]
            for kind in (0, 1):
                mine = bins[same == kind]
                turn = (seen[kind] + np.arange(len(mine))) % folds
                np.add.at(found, (turn * 2 + kind) * BINS + mine, 1)
                seen[kind] += len(mine)
        return found.reshape(folds, 2, BINS)

    def draws(self, curve: Roc, fars: Sequence[float], replicates: int) -> dict[str, list[float]]:
        """Returns the TARs of draws of people by the name of the FAR."""
        sizes = np.bincount(self.person)

        def impostors(drawn: npt.NDArray[np.float64]) -> float:
            images = drawn * sizes
            return float(images.sum() ** 2 - (images**2).sum()) / 2

        def highest(count: int) -> Highest:
            # The last point of the curve that accepts fewer than `count` impostors, and one more.
            point = int(np.searchsorted(curve.far, count / curve.impostor))
            cut = curve.thresholds[min(point, len(curve.thresholds) - 1)]
            parts: list[tuple[npt.NDArray[np.generic], ...]] = []
            for scores, first, second in self.blocks():
                left, right = self.person[first], self.person[second]
                kept = np.flatnonzero((scores >= cut) | (left == right))
                parts.append((scores[kept], left[kept], right[kept]))
            scores, left, right = (np.concatenate(column) for column in zip(*parts, strict=True))
            return Highest(scores, left == right, left, right)

        measured = [far for far in fars if far * curve.impostor <= _EXAMINED]
        found = drawn_subjects(highest, len(sizes), impostors, curve.impostor, measured, replicates)
        return {name: found.get(name, []) for name in map(far_name, fars)}
