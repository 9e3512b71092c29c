"""Readers of pair lists: LFW, CSV and TSV, CALFW and CPLFW."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfkeras.evaluation.cfp import read_cfp
from gfkeras.evaluation.pair_list import PairList, stratified_folds
from gfkeras.files import file_below
from gfkeras.lfw_lists import NumberedImages, is_lfw_header, lfw_pairs
from gfkeras.text_lists import (
    delimiter_of,
    is_count,
    lines,
    malformed,
    unexpected,
    unquoted,
)

Rows = Sequence[tuple[int, str]]

COLUMNS = ("first", "second", "same", "fold")
# An image, whose name may hold blanks, and a number: "Ann_0001.jpg 1".
_TWO_LINES = re.compile(r"\s*(?P<image>\S.*\.\w{2,5}\"?)\s+(?P<number>[0-9]{1,18})\s*")
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_pairs(file: str | os.PathLike[str], root: str | os.PathLike[str]) -> PairList:
    """Reads a list of pairs and recognises its format from the first line.

    Files are UTF-8 or UTF-16. Blank lines and comments are skipped (`gfkeras.text_lists.lines`).

    LFW: the first line is "10 300" (folds, pairs of each kind in a fold) or "500" (one fold). Then
    each fold has its genuine pairs as "name i j" and its impostor pairs as "name i name j". See
    `gfkeras.lfw_lists.lfw_pairs`. Image i of a person is root/name/name_0001.jpg, or the same name
    with another usual suffix.

    CSV or TSV: the first line names the columns first, second, same and optionally fold, in any
    order, separated by commas, tabs or semicolons. Paths are relative to `root`. The column same is
    1/0, true/false or yes/no, and a repeated pair must have the same answer. Folds are integers.

    CALFW and CPLFW: a pair is two lines "image number". The number is 0 if the pair shows two
    people. CFP: pass "cfp-fp" or "cfp-ff" instead of a file, and as `root` the folder with
    `Protocol/` and `Data/`. `gfkeras.data.sources.VerificationBinSource` reads InsightFace's .bin
    sets, such as AgeDB-30.

    The threshold must be chosen on other pairs than those it is measured on. A list without folds,
    or with one fold, is therefore split into ten folds of neighbouring pairs (`stratified_folds`).
    A missing image is not an error here: evaluation skips it and lists it.

    Raises:
        ValueError: if the file or `root` does not exist, or a line is malformed. The message names
            the file and the line, and says what was expected and received.
    """
    file, root = Path(file), Path(root)
    if not root.is_dir():
        raise ValueError(f"`root` must be an existing folder of images. Received: root={root}")
    if str(file).lower() in ("cfp-fp", "cfp-ff"):
        return read_cfp(root, str(file)[-2:].upper())
    try:
        rows = list(lines(file))
    except OSError as error:
        raise ValueError(f"`file` must be a readable pairs file. Received: {error}") from error
    if not rows:
        raise ValueError(f"{file}: expected pairs. Received: an empty file")
    # Check for LFW's header first: a CSV reader would take "500" for the name of a column.
    if is_lfw_header(rows[0][1]):
        return _read_lfw(file, rows, root)
    if is_two_line_list(rows):
        return read_two_line_list(file, rows, root)
    return _read_table(file, rows, root)


def _read_lfw(file: Path, rows: Rows, root: Path) -> PairList:
    images = NumberedImages(root)
    pairs = list(lfw_pairs(file, rows))
    first: list[Path] = []
    second: list[Path] = []
    for pair in pairs:
        for files, (name, number) in ((first, pair.first), (second, pair.second)):
            if "/" in name or "\\" in name:
                raise malformed(file, pair.line, "a person's name without slashes", name)
            files.append(root / images.expected(name, number))
    same, fold = np.array([pair.same for pair in pairs]), np.array([pair.fold for pair in pairs])
    return PairList(first, second, same, fold if fold.any() else stratified_folds(same))


def _read_table(file: Path, rows: Rows, root: Path) -> PairList:
    number, text = rows[0]
    delimiter = delimiter_of(text)
    header = [name.strip().lower() for name in _values(file, number, text, delimiter)]
    missing = set(COLUMNS[:3]) - set(header)
    if missing or set(header) - set(COLUMNS) or len(set(header)) != len(header):
        columns = "the columns first, second, same and optionally fold"
        expected = f'the first line of LFW\'s format ("10 300" or "500") or {columns}'
        raise malformed(file, number, expected, text)
    first, second, same, fold = [], [], [], []
    answers: dict[frozenset[str], tuple[bool, int]] = {}
    for number, text in rows[1:]:
        values = _values(file, number, text, delimiter)
        if len(values) != len(header):
            raise malformed(file, number, f"{len(header)} values ({', '.join(header)})", text)
        row = {name: value.strip() for name, value in zip(header, values, strict=True)}
        if not row["first"] or not row["second"]:
            raise malformed(file, number, "two paths", text)
        if row["same"].lower() not in _BOOLEANS:
            expected = "same to be 1 or 0, true or false, yes or no"
            raise malformed(file, number, expected, row["same"])
        answer = _BOOLEANS[row["same"].lower()]
        # The key is a set, because (a, b) and (b, a) are the same pair.
        before, line = answers.setdefault(
            frozenset((row["first"], row["second"])), (answer, number)
        )
        if before != answer:
            raise malformed(file, number, f"the answer of line {line} for the same pair", text)
        first.append(file_below(root, row["first"]))
        second.append(file_below(root, row["second"]))
        same.append(answer)
        if "fold" in row:
            if not is_count(row["fold"].removeprefix("-")):
                raise malformed(file, number, "fold to be an integer", row["fold"])
            fold.append(int(row["fold"]))
    if not first:
        raise ValueError(f"{file}: expected pairs after the first line. Received: none")
    folds = np.array(fold) if len(set(fold)) > 1 else stratified_folds(same)
    return PairList(first, second, np.array(same), folds)


def _values(file: Path, number: int, text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error as error:
        received = f"{text[:300]!r} ({error})"
        raise unexpected(file, number, f"{delimiter!r}-separated values", received) from error


def is_two_line_list(rows: Rows) -> bool:
    """Returns whether the lines are "image number", as in CALFW and CPLFW."""
    return _TWO_LINES.fullmatch(rows[0][1]) is not None


def read_two_line_list(file: Path, rows: Rows, root: Path) -> PairList:
    """Reads a list of CALFW or CPLFW: two lines "image number" a pair, 0 for two people."""
    if len(rows) % 2:
        raise malformed(file, rows[-1][0], "two lines for each pair", rows[-1][1])
    files, kinds = [], []
    for line, text in rows:
        found = _TWO_LINES.fullmatch(text)
        if found is None:
            raise malformed(file, line, "an image and a number", text)
        files.append(file_below(root, unquoted(found["image"])))
        kinds.append(int(found["number"]) != 0)
        if not len(kinds) % 2 and kinds[-1] != kinds[-2]:
            raise malformed(file, line, "the kind of the line before", text)
    same = np.array(kinds[::2])
    return PairList(files[::2], files[1::2], same, stratified_folds(same))
