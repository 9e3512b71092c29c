"""Lists of pairs in other forms than LFW's: CALFW's and CPLFW's, and CFP's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from gfkeras.errors import one_of
from gfkeras.evaluation.pair_list import PairList, stratified_folds

Rows = Sequence[tuple[int, str]]
CFP_PROTOCOLS = ("FP", "FF")


def is_two_line_list(rows: Rows) -> bool:
    """Whether lines are "image number", as CALFW's and CPLFW's are."""
    fields = rows[0][1].split()
    return len(fields) == 2 and "." in fields[0] and fields[1].isdecimal()


def read_two_line_list(file: Path, rows: Rows, root: Path) -> PairList:
    """CALFW's and CPLFW's lists: a pair is two lines "image number", 0 for two people.

    The lists have no folds of their own; the ten that are used are neighbouring pairs of each
    kind, 300 and 300.

    Raises:
        ValueError: for a malformed line, or a last line without its second.
    """
    if len(rows) % 2:
        _malformed(file, rows[-1][0], "two lines for each pair", rows[-1][1])
    parsed = []
    for line, text in rows:
        fields = text.split()
        if len(fields) != 2 or not fields[1].isdecimal():
            _malformed(file, line, "an image and a number", text)
        parsed.append((line, root / fields[0], fields[1] != "0"))
    pairs = list(zip(parsed[::2], parsed[1::2], strict=True))
    for (_, _, same), (line, _, again) in pairs:
        if same != again:
            _malformed(file, line, "the kind of the line before", rows[line - 1][1])
    kinds = np.array([first[2] for first, _ in pairs])
    return PairList(
        [first[1] for first, _ in pairs],
        [second[1] for _, second in pairs],
        kinds,
        stratified_folds(kinds),
    )


def read_cfp(folder: Path, protocol: str = "FP") -> PairList:
    """CFP's ten folds, frontal-profile or frontal-frontal.

    Args:
        folder: with `Protocol/` (`Pair_list_F.txt`, `Pair_list_P.txt`, `Split/FP/01/same.txt`…)
            and `Data/Images/`.
        protocol: "FP" or "FF".

    Raises:
        ValueError: for a missing file or a malformed line, naming both.
    """
    one_of("protocol", protocol, CFP_PROTOCOLS)
    lists = folder / "Protocol"
    frontal = _images(lists / "Pair_list_F.txt")
    others = frontal if protocol == "FF" else _images(lists / "Pair_list_P.txt")
    first, second, same, fold = [], [], [], []
    for number in range(10):
        for kind in ("same", "diff"):
            file = lists / "Split" / protocol / f"{number + 1:02d}" / f"{kind}.txt"
            for line, text in _lines(file):
                fields = [field.strip() for field in text.split(",")]
                known = len(fields) == 2 and all(field.isdecimal() for field in fields)
                if not known or int(fields[0]) not in frontal or int(fields[1]) not in others:
                    _malformed(file, line, "two numbers of the lists of images", text)
                first.append(frontal[int(fields[0])])
                second.append(others[int(fields[1])])
                same.append(kind == "same")
                fold.append(number)
    return PairList(first, second, np.array(same), np.array(fold))


def _images(file: Path) -> dict[int, Path]:
    """Number to image, of lines "1 ../Data/Images/001/frontal/01.jpg"."""
    found = {}
    for line, text in _lines(file):
        number, _, name = text.strip().partition(" ")
        if not number.isdecimal() or not name.strip():
            _malformed(file, line, "a number and the path of an image", text)
        found[int(number)] = file.parent / name.strip()
    return found


def _lines(file: Path) -> list[tuple[int, str]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} must be a list of CFP's protocol. Received: {error}") from error
    return [(number, text) for number, text in enumerate(lines, start=1) if text.strip()]


def _malformed(file: Path, line: int, expected: str, received: object) -> NoReturn:
    raise ValueError(f"{file}, line {line}: expected {expected}. Received: {received!r}")
