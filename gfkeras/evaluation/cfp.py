"""Pairs of Celebrities in Frontal-Profile (CFP)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gfkeras.errors import one_of
from gfkeras.evaluation.pair_list import PairList
from gfkeras.files import file_below
from gfkeras.text_lists import fields, is_count, lines, malformed, unquoted

# Frontal-frontal and frontal-profile.
CFP_PARTS = ("FF", "FP")
_FOLDS = 10
_FRONTAL, _PROFILE = "Pair_list_F.txt", "Pair_list_P.txt"


def read_cfp(data: Path, part: str = "FP", lists: Path | None = None) -> PairList:
    """Reads the ten folds of CFP: frontal-profile ("FP") or frontal-frontal ("FF").

    The lists name images by numbers, and `Pair_list_F.txt` and `Pair_list_P.txt` give each number
    its image, such as "../Data/Images/001/frontal/01.jpg". Only person, pose and file of this path
    count, so the images can be anywhere.

    Args:
        data: the folder of CFP with `Data/Images/`, its `Data`, or a folder of images
            PERSON/POSE/FILE.
        part: "FP" or "FF".
        lists: folder with `Pair_list_F.txt`, `Pair_list_P.txt` and `Split/`. By default it is
            `data`, a folder in it such as `Protocol`, or a folder next to it.

    Raises:
        ValueError: for missing lists, and, with the file and the line, for a malformed line.
    """
    one_of("part", part, CFP_PARTS)
    lists = _lists(data, lists)
    inside = (data / "Data" / "Images", data / "Images")
    images = next((folder for folder in inside if folder.is_dir()), data)
    frontal = _images(lists / _FRONTAL, images)
    others = frontal if part == "FF" else _images(lists / _PROFILE, images)
    first, second, same, fold = [], [], [], []
    for number in range(_FOLDS):
        for kind in ("same", "diff"):
            file = lists / "Split" / part / f"{number + 1:02d}" / f"{kind}.txt"
            for line, text in _lines(file):
                found = fields(text, ",")
                known = len(found) == 2 and all(map(is_count, found))
                if not known or int(found[0]) not in frontal or int(found[1]) not in others:
                    raise malformed(file, line, "two numbers from the image lists", text)
                first.append(frontal[int(found[0])])
                second.append(others[int(found[1])])
                same.append(kind == "same")
                fold.append(number)
    return PairList(first, second, np.array(same, bool), np.array(fold, np.int64))


def _lists(data: Path, lists: Path | None) -> Path:
    """Returns the folder of the lists."""

    def candidates() -> Iterator[Path]:
        if lists is not None:
            yield from (lists, lists / "Protocol")
            return
        yield data
        # Next to the images, or next to the `Data` that holds them.
        for folder in (data, data.absolute().parent, data.absolute().parent.parent):
            yield from sorted(file.parent for file in folder.glob(f"*/{_FRONTAL}"))

    for folder in candidates():
        if (folder / _FRONTAL).is_file():
            return folder
    argument, given = ("data", data) if lists is None else ("pairs", lists)
    raise ValueError(
        f"`{argument}` must be a folder with the lists of CFP's protocol, {_FRONTAL} and others, "
        f"or `pairs` (--pairs) must name it. Received: {argument}={str(given)!r}"
    )


def _images(file: Path, root: Path) -> dict[int, Path]:
    """Returns images by their number, from lines such as "1 ../Data/Images/001/frontal/01.jpg"."""
    found = {}
    for line, text in _lines(file):
        number, *name = text.split(maxsplit=1)
        parts = unquoted(name[0].strip()).replace("\\", "/").split("/")[-3:] if name else []
        # A list must not lead out of the folder.
        if not is_count(number) or len(parts) < 3 or {"", ".", ".."} & set(parts):
            raise malformed(file, line, "a number and the path of an image", text)
        if int(number) in found:
            raise malformed(file, line, "a number that no line before has", text)
        found[int(number)] = file_below(root, "/".join(parts))
    return found


def _lines(file: Path) -> list[tuple[int, str]]:
    try:
        return list(lines(file))
    except OSError as error:
        raise ValueError(f"{file} must be a list of CFP's protocol. Received: {error}") from error
