"""Pairs to score on: a list, all of a folder, some drawn at random, or a source's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfkeras.data.sources import Source
    from gfkeras.evaluation import PairList


def named_pairs(
    pairs: str, data: Path, identities: Path | None, seed: int, option: str = "identities"
) -> PairList:
    """The pairs of a list, all pairs, or a number of them drawn from a folder of people."""
    from gfkeras.data.folder import FaceFolder
    from gfkeras.evaluation import all_pairs, read_pairs, sample_pairs

    if pairs != "all" and not pairs.isdigit():
        if identities is not None:
            raise ValueError(
                f"`{option}` goes with --pairs all or a number: a pairs file names its "
                f"people. Received: {option}={str(identities)!r}"
            )
        return read_pairs(pairs, data)
    folder = FaceFolder(data, identities)
    if pairs == "all":
        return all_pairs(folder.paths, folder.labels, seed=seed)
    return sample_pairs(folder.paths, folder.labels, int(pairs), seed=seed)


def source_pairs(source: Source) -> PairList:
    """The pairs of a source that has its own, its names as paths."""
    import numpy as np

    from gfkeras.evaluation import PairList

    pairs = list(source.pairs() or ())
    return PairList(
        [Path(pair.first) for pair in pairs],
        [Path(pair.second) for pair in pairs],
        np.array([pair.same for pair in pairs], np.bool_),
        np.array([pair.fold for pair in pairs], np.int64),
    )
