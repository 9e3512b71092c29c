"""Pairs of a verification protocol: listed, sampled or all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Paths = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of image files with their kind and fold: four sequences of one length.

    Args:
        first, second: N paths each.
        same: (N,) bool, true if both show one person (a genuine pair).
        fold: (N,) integers, the fold of each pair.
        left_out: (path, reason) of images that were found but are in no pair.
    """

    first: Sequence[Path]
    second: Sequence[Path]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]
    left_out: Sequence[tuple[Path, str]] = ()

    def __post_init__(self) -> None:
        same, fold = np.asarray(self.same), np.asarray(self.fold)
        one, other = len(self.first), len(self.second)
        if one != other or {same.shape, fold.shape} != {(one,)}:
            raise ValueError(
                "`first`, `second`, `same` and `fold` must be equally long. Received: lengths "
                f"{one} and {other}, shapes {same.shape} and {fold.shape}"
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
        """Returns every distinct file, in the order of first appearance."""
        both = zip(self.first, self.second, strict=True)
        return list(dict.fromkeys(path for pair in both for path in pair))

    def select(self, keep: npt.ArrayLike) -> PairList:
        """Returns the pairs at `keep`, a mask (N,) or integer positions. Folds stay the same."""
        positions = np.arange(len(self))[np.asarray(keep)]
        return PairList(
            [self.first[i] for i in positions],
            [self.second[i] for i in positions],
            self.same[positions],
            self.fold[positions],
        )


@dataclass(frozen=True, eq=False)
class AllPairs:
    """Every unordered pair of N labelled files, N(N − 1)/2 of them, without a list.

    Args:
        paths: N files, each once.
        labels: (N,) the person in each file, integers or text.
        left_out: (path, reason) of images that were found but are in no pair.

    Raises:
        ValueError: if the lengths differ, or there is no genuine or no impostor pair.
    """

    paths: Paths
    labels: npt.ArrayLike
    left_out: Sequence[tuple[Path, str]] = ()
    # (N,) the person in each file, numbered from 0.
    person: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        files, person = _check(self.paths, self.labels)
        object.__setattr__(self, "paths", files)
        object.__setattr__(self, "person", person)

    def __len__(self) -> int:
        return len(self.person) * (len(self.person) - 1) // 2

    def files(self) -> list[Path]:
        """Returns every file."""
        return [Path(path) for path in self.paths]

    def listed(self) -> PairList:
        """Returns the pairs as a list, which takes about 100 bytes a pair."""
        return all_pairs(self.paths, self.person)


def _paths(paths: Sequence[Path]) -> list[Path]:
    # Keep existing Path objects: a million pairs of few files then share them and save memory.
    return [path if isinstance(path, Path) else Path(path) for path in paths]


def stratified_folds(
    same: npt.ArrayLike, folds: int = 10, rng: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """Returns folds (N,) numbered from 0, each with its share of genuine and of impostor pairs.

    The pairs of each kind are split into blocks of neighbours. In a list sorted by name, this keeps
    most pairs of a person in one fold. With `rng` the pairs are shuffled first. There are never
    more folds than pairs of the rarer kind, so every fold has both kinds. Raises ValueError if
    `folds` is below 2.
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
        # Pair i of n goes to fold i · count // n, so the sizes of folds differ by at most one.
        result[positions] = np.arange(len(positions)) * count // max(1, len(positions))
    return result


def all_pairs(paths: Paths, labels: npt.ArrayLike, folds: int = 10, seed: int = 0) -> PairList:
    """Returns every unordered pair of two images, N(N − 1)/2 of them, in a fixed order.

    Each fold gets its share of genuine and of impostor pairs, drawn at random from `seed`. There
    are fewer folds if there are fewer genuine pairs than folds. Most pairs are impostors, so look
    at the balanced accuracy. For more than a few thousand images, use `AllPairs`.

    Args:
        paths: N files, each once.
        labels: (N,) the person in each file, integers or text.

    Raises:
        ValueError: if the lengths differ, or there is no genuine or no impostor pair.
    """
    files, person = _check(paths, labels)
    first, second = np.triu_indices(len(files), 1)
    return _pair_list(files, person, first, second, folds, np.random.default_rng(seed))


def sample_pairs(
    paths: Paths, labels: npt.ArrayLike, count: int, folds: int = 10, seed: int = 0
) -> PairList:
    """Returns `count` different pairs, half of them genuine, drawn uniformly from each kind.

    The same arguments give the same pairs. No pair appears twice, in either order. If `count` is
    odd, there is one impostor pair more. Raises ValueError like `all_pairs`, and if `count` is
    below 2 or larger than the number of available pairs.
    """
    files, person = _check(paths, labels)
    if isinstance(count, bool) or int(count) != count or count < 2:
        raise ValueError(f"`count` must be an integer of at least 2. Received: count={count!r}")
    genuine, impostor = int(count) // 2, int(count) - int(count) // 2
    sizes = np.bincount(person)
    of_person = sizes * (sizes - 1) // 2
    genuine_total = int(of_person.sum())
    impostor_total = len(files) * (len(files) - 1) // 2 - genuine_total
    if genuine > genuine_total or impostor > impostor_total:
        raise ValueError(
            f"`count` must be at most {2 * min(genuine_total, impostor_total)}: these images give "
            f"{genuine_total} genuine and {impostor_total} impostor pairs. Received: count={count}"
        )
    rng = np.random.default_rng(seed)

    # Number all genuine pairs, person after person, and draw numbers. No list of pairs is needed.
    drawn = rng.choice(genuine_total, size=genuine, replace=False)
    ends = np.cumsum(of_person)
    owner = np.searchsorted(ends, drawn, side="right")
    low, high = _unrank(drawn - (ends - of_person)[owner])
    by_person = np.argsort(person, kind="stable")
    start = np.cumsum(sizes) - sizes
    first, second = by_person[start[owner] + low], by_person[start[owner] + high]

    other_first, other_second = _draw_impostors(person, impostor, impostor_total, rng)
    first = np.concatenate([first, other_first])
    second = np.concatenate([second, other_second])
    return _pair_list(files, person, first, second, folds, rng)


def _draw_impostors(
    person: npt.NDArray[np.int64], count: int, total: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    every = len(person) * (len(person) - 1) // 2
    if 2 * count > total:
        # Most pairs are needed: list them all, because random draws would repeat too often.
        low, high = _unrank(np.arange(every))
        impostors = np.flatnonzero(person[low] != person[high])
        return _unrank(rng.permutation(impostors)[:count])
    ranks = np.empty(0, dtype=np.int64)
    while len(ranks) < count:
        # Draw more than needed, because genuine pairs and repeats are dropped.
        drawn = rng.integers(every, size=2 * count + 16)
        low, high = _unrank(drawn)
        ranks = np.concatenate([ranks, drawn[person[low] != person[high]]])
        # Drop repeats but keep the order of drawing. The sorted order of `unique` would favour the
        # pairs with small numbers.
        ranks = ranks[np.sort(np.unique(ranks, return_index=True)[1])]
    return _unrank(ranks[:count])


def _unrank(rank: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the pair (low, high), low < high, whose number is high(high − 1)/2 + low."""
    high = ((1 + np.sqrt(1 + 8 * rank.astype(np.float64))) / 2).astype(np.int64)
    # In float64, the square root can be off by one for large numbers.
    high = np.where(high * (high - 1) // 2 > rank, high - 1, high)
    high = np.where((high + 1) * high // 2 <= rank, high + 1, high)
    return rank - high * (high - 1) // 2, high


def _check(paths: Paths, labels: npt.ArrayLike) -> tuple[list[Path], npt.NDArray[np.int64]]:
    files = [Path(path) for path in paths]
    labels = np.asarray(labels)
    if labels.shape != (len(files),):
        raise ValueError(
            f"`labels` must have one entry for each of the {len(files)} paths. "
            f"Received: shape {labels.shape}"
        )
    if len(set(files)) != len(files):
        raise ValueError("`paths` must name each file once. Received: a repeated path")
    people, person = np.unique(labels, return_inverse=True)
    if len(people) < 2 or len(people) == len(files):
        raise ValueError(
            "Pairs need at least two people, one of them with two images. "
            f"Received: {len(files)} images of {len(people)} people"
        )
    return files, person.reshape(-1).astype(np.int64)


def _pair_list(
    files: list[Path],
    person: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    folds: int,
    rng: np.random.Generator,
) -> PairList:
    same = person[first] == person[second]
    return PairList(
        [files[i] for i in first],
        [files[i] for i in second],
        same,
        stratified_folds(same, folds, rng),
    )
