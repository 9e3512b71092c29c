"""The pairs a verification protocol asks about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of image files with their kind and their fold.

    Args:
        first: N paths.
        second: N paths.
        same: (N,) true where both show one person (a genuine pair).
        fold: (N,) integers, the fold each pair belongs to.

    Raises:
        ValueError: where the four differ in length or hold something else.
    """

    first: Sequence[Path]
    second: Sequence[Path]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        same, fold = np.asarray(self.same), np.asarray(self.fold)
        lengths = (len(self.first), len(self.second), same.shape, fold.shape)
        if len(self.first) != len(self.second) or {same.shape, fold.shape} != {(len(self.first),)}:
            raise ValueError(
                "`first`, `second`, `same` and `fold` must be equally long. "
                f"Received: lengths {lengths[0]} and {lengths[1]}, shapes {same.shape} and "
                f"{fold.shape}"
            )
        if len(same) and (same.dtype != np.bool_ or fold.dtype.kind not in "iu"):
            raise ValueError(
                "`same` must be bool and `fold` integer. "
                f"Received: dtypes {same.dtype} and {fold.dtype}"
            )
        object.__setattr__(self, "first", _paths(self.first))
        object.__setattr__(self, "second", _paths(self.second))
        object.__setattr__(self, "same", same.astype(np.bool_))
        object.__setattr__(self, "fold", fold.astype(np.int64))

    def __len__(self) -> int:
        return len(self.first)

    @property
    def genuine(self) -> int:
        """Number of pairs of one person."""
        return int(self.same.sum())

    @property
    def impostor(self) -> int:
        """Number of pairs of two people."""
        return len(self) - self.genuine

    @property
    def folds(self) -> int:
        """Number of folds that hold a pair."""
        return len(np.unique(self.fold))

    def files(self) -> list[Path]:
        """Every distinct file, in the order of first appearance."""
        both = zip(self.first, self.second, strict=True)
        return list(dict.fromkeys(path for pair in both for path in pair))

    def select(self, keep: npt.ArrayLike) -> PairList:
        """The pairs at `keep`, a (N,) bool mask or integer positions, folds unchanged."""
        positions = np.arange(len(self))[np.asarray(keep)]
        return PairList(
            [self.first[i] for i in positions],
            [self.second[i] for i in positions],
            self.same[positions],
            self.fold[positions],
        )


def _paths(paths: Sequence[Path]) -> list[Path]:
    # A million pairs of few files share their Path objects.
    return [path if isinstance(path, Path) else Path(path) for path in paths]


def stratified_folds(
    same: npt.ArrayLike, folds: int = 10, rng: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """Folds (N,) numbered from 0, each with its share of genuine and of impostor pairs.

    Pairs of a kind are dealt in blocks of neighbours, which in a list sorted by name keeps
    most of a person's pairs in one fold; with `rng` they are shuffled first. There are never
    more folds than pairs of the rarer kind, so that every fold has both kinds.

    Raises:
        ValueError: where `folds` is below 2.
    """
    if isinstance(folds, bool) or int(folds) != folds or folds < 2:
        raise ValueError(f"`folds` must be an integer of at least 2. Received: folds={folds!r}")
    same = np.asarray(same, dtype=np.bool_)
    rarer = min(int(same.sum()), int((~same).sum()))
    count = max(1, min(int(folds), rarer))
    result = np.zeros(len(same), dtype=np.int64)
    for kind in (True, False):
        positions = np.flatnonzero(same == kind)
        if rng is not None:
            positions = rng.permutation(positions)
        result[positions] = np.arange(len(positions)) * count // max(1, len(positions))
    return result
