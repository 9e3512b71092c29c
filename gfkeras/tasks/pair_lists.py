"""Pairs to score: a list, all pairs of a folder, a random draw, or a source's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.data.sources import Source
from gfkeras.evaluation import PairList, all_pairs, read_pairs, sample_pairs


def named_pairs(
    pairs: str | int, data: Path, identities: Path | None, seed: int, option: str = "identities"
) -> PairList:
    """Returns the pairs that a user names.

    `pairs` is a pairs file, "all" or a number to draw from the people in `data`; for the last two,
    `identities` is a file with the people to take, and `option` what errors call it. `seed` is of
    the draw and of the folds.
    """
    pairs = str(pairs)
    if pairs != "all" and not pairs.isdigit():
        if identities is not None:
            raise ValueError(
                f"`{option}` goes with `pairs` all or a number (--pairs): a pairs file names its "
                f"people. Received: {option}={str(identities)!r}"
            )
        return read_pairs(pairs, data)
    folder = FaceFolder(data, identities)
    if pairs == "all":
        return all_pairs(folder.paths, folder.labels, seed=seed)
    return sample_pairs(folder.paths, folder.labels, int(pairs), seed=seed)


def source_pairs(source: Source) -> PairList:
    """Returns the pairs of a source that has its own; their names stand as paths."""
    pairs = list(source.pairs() or ())
    return PairList(
        [Path(pair.first) for pair in pairs],
        [Path(pair.second) for pair in pairs],
        np.array([pair.same for pair in pairs], np.bool_),
        np.array([pair.fold for pair in pairs], np.int64),
    )
