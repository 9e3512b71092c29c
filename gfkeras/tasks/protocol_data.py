"""Options of the protocols of `evaluate`, and the pairs that they name."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras import evaluation
from gfkeras.data import FaceFolder
from gfkeras.data.sources import IJBMetadata, Source
from gfkeras.errors import one_of, wrong
from gfkeras.evaluation import AllPairs, PairList, Similarity
from gfkeras.evaluation.cfp import CFP_PARTS, read_cfp


@dataclass(frozen=True)
class ProtocolOptions:
    """The choice of a protocol and its data, as in `gfkeras.tasks.evaluate.evaluate`."""

    protocol: str
    data: Path
    pairs: str | int | None
    identities: Path | None
    subset: str | None
    task: str | None
    max_frames: int | None
    distractors: str | None
    refined: bool
    tune: str | None
    tune_data: Path | None
    similarity: Similarity
    bootstrap: int
    seed: int
    resize: bool = False


# The data of a protocol: pairs, several lists of them by name, or a source.
Images = PairList | AllPairs | dict[str, PairList] | Source


@dataclass(frozen=True)
class ProtocolData:
    """The images of a protocol, and the development pairs that choose β and γ."""

    images: Images
    development: PairList | None
    meta: IJBMetadata | None = None


def named_pairs(
    pairs: str | int, data: Path, identities: Path | None, seed: int, option: str = "identities"
) -> PairList | AllPairs:
    """Returns the pairs that a user names.

    Args:
        pairs: a pairs file, "all", or a number of random pairs of the people in `data`.
        data: folder of the images.
        identities: with "all" or a number: text file with the people to use.
        seed: random seed for pairs and folds.
        option: the name of `identities` in error messages.
    """
    pairs = str(pairs)
    if pairs != "all" and not pairs.isdigit():
        if identities is not None:
            raise ValueError(
                f"`{option}` requires `pairs` (--pairs) all or a number, because a pairs file "
                f"names its people. Received: {option}={str(identities)!r}"
            )
        return evaluation.read_pairs(pairs, data)
    folder = FaceFolder(data, identities)
    if pairs == "all":
        return AllPairs(folder.paths, folder.labels, folder.skipped)
    listed = evaluation.sample_pairs(folder.paths, folder.labels, int(pairs), seed=seed)
    return dataclasses.replace(listed, left_out=folder.skipped)


def source_pairs(source: Source) -> PairList:
    """Returns the pairs of a source that has pairs. The names of images are used as paths."""
    pairs = list(source.pairs() or ())
    return PairList(
        [Path(pair.first) for pair in pairs],
        [Path(pair.second) for pair in pairs],
        np.array([pair.same for pair in pairs], np.bool_),
        np.array([pair.fold for pair in pairs], np.int64),
    )


def listed_pairs(options: ProtocolOptions) -> PairList | AllPairs:
    """Returns the pairs that the options name. Raises ValueError without `pairs`."""
    if options.pairs is None:
        received = f"pairs=None with protocol={options.protocol}"
        raise wrong("pairs (--pairs)", "be a pairs file, all, or a number", received)
    return named_pairs(options.pairs, options.data, options.identities, options.seed)


def cfp_lists(options: ProtocolOptions) -> dict[str, PairList]:
    """Returns the lists of CFP by name: FF and FP, or the one that `subset` names."""
    if options.subset is not None:
        one_of("subset", options.subset, CFP_PARTS)
    lists = None if options.pairs is None else Path(str(options.pairs))
    parts = CFP_PARTS if options.subset is None else (options.subset,)
    return {part: read_cfp(options.data, part, lists) for part in parts}
