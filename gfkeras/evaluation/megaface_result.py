"""What MegaFace's challenge found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.intervals import Interval, interval_text

RANKS = (1, 10)

Integers = npt.NDArray[np.int64]


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
        return [
            *rows,
            ("Photos of actors", f"{self.probes:,}, {self.searches:,} searches"),
            ("Distractors", f"{self.distractors:,}" + (", refined lists" if self.refined else "")),
            ("Impostor pairs", f"{self.impostor:,}"),
            ("Skipped", f"{len(self.skipped_files):,} images"),
        ]
