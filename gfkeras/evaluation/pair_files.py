"""Lists of pairs: LFW's form, CSV and TSV, CALFW's and CPLFW's, CFP's."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from gfkeras.errors import one_of
from gfkeras.evaluation.pair_list import PairList, stratified_folds

Rows = Sequence[tuple[int, str]]
CFP_PROTOCOLS = ("FP", "FF")

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
COLUMNS = ("first", "second", "same", "fold")
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_pairs(file: str | os.PathLike[str], root: str | os.PathLike[str]) -> PairList:
    """Reads a list of pairs; the format is seen from its first line.

    LFW: a first line "10 300" (folds, pairs of each kind in a fold) or "500" (one fold), then for
    each fold the genuine pairs as "name i j" and the impostor pairs as "name i name j", separated
    by tabs or blanks. Image i of a person is root/name/name_0001.jpg, or with another usual suffix.

    CSV or TSV: a first line naming the columns first, second, same and optionally fold, in any
    order, separated by commas or tabs. Paths are relative to root; same is 1/0, true/false or
    yes/no; fold is an integer.

    CALFW and CPLFW: two lines "image number" a pair, 0 for two people. CFP: in place of the file
    "cfp-fp" or "cfp-ff", and as root the folder with `Protocol/` and `Data/`. InsightFace's .bin
    sets, AgeDB-30's among them, are read by `gfkeras.data.sources.VerificationBinSource`.

    A list in one fold, or without folds, is dealt into ten of neighbouring pairs
    (`stratified_folds`), since the threshold has to be chosen on pairs other than those it is
    measured on. A file that is named but not there is no error here: evaluation skips and lists it.

    Raises:
        ValueError: for a file or root that is not there, and for a malformed line, with the file,
            the line, what was expected and what was received.
    """
    file, root = Path(file), Path(root)
    if not root.is_dir():
        raise ValueError(f"`root` must be an existing folder of images. Received: root={root}")
    if str(file).lower() in ("cfp-fp", "cfp-ff"):
        return read_cfp(root, str(file)[-2:].upper())
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"`file` must be a readable pairs file. Received: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected UTF-8 text. Received: {error}") from error
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ValueError(f"{file}: expected pairs. Received: an empty file")
    header = _fields(rows[0][1])
    if len(header) <= 2 and all(field.isdecimal() for field in header):
        return _read_lfw(file, rows, root)
    if is_two_line_list(rows):
        return read_two_line_list(file, rows, root)
    return _read_table(file, rows, root)


def _malformed(file: Path, line: int, expected: str, received: object) -> NoReturn:
    raise ValueError(f"{file}, line {line}: expected {expected}. Received: {received!r}")


def _fields(line: str) -> list[str]:
    """Tabs part the fields where there are any, so that a name may hold blanks."""
    return [field.strip() for field in line.strip().split("\t")] if "\t" in line else line.split()


def _read_lfw(file: Path, rows: Sequence[tuple[int, str]], root: Path) -> PairList:
    header = [int(field) for field in _fields(rows[0][1])]
    folds, each = (1, header[0]) if len(header) == 1 else (header[0], header[1])
    if folds < 1 or each < 1:
        _malformed(file, rows[0][0], "positive numbers of folds and pairs", rows[0][1])
    expected = folds * 2 * each
    if len(rows) - 1 != expected:
        last = rows[min(expected + 1, len(rows) - 1)][0]
        raise ValueError(
            f"{file}, line {last}: expected {expected} pairs after the first line "
            f"{rows[0][1].strip()!r} ({folds} folds × {each} genuine and {each} impostor). "
            f"Received: {len(rows) - 1}"
        )
    people = _People(root)
    first, second = [], []
    for position, (line, text) in enumerate(rows[1:]):
        genuine = position % (2 * each) < each
        fields = _fields(text)
        wanted = "a genuine pair, name i j" if genuine else "an impostor pair, name i name j"
        if len(fields) != (3 if genuine else 4):
            _malformed(file, line, wanted, text)
        name, number = fields[:2]
        other, other_number = (name, fields[2]) if genuine else (fields[2], fields[3])
        if not all(n.isdecimal() and int(n) > 0 for n in (number, other_number)):
            _malformed(file, line, f"{wanted} with image numbers from 1", text)
        if not genuine and name == other:
            _malformed(file, line, "two different people in an impostor pair", text)
        first.append(people.image(name, int(number)))
        second.append(people.image(other, int(other_number)))
    same = np.arange(expected) % (2 * each) < each
    fold = np.arange(expected) // (2 * each)
    return PairList(first, second, same, fold if folds > 1 else stratified_folds(same))


class _People:
    """Finds image number i of a person whatever its suffix; lists each folder once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: dict[str, dict[str, str]] = {}
        self.found: dict[tuple[str, int], Path] = {}

    def image(self, name: str, number: int) -> Path:
        key = (name, number)
        if key not in self.found:
            if name not in self.listed:
                self.listed[name] = self._list(self.root / name)
            stem = f"{name}_{number:04d}"
            self.found[key] = self.root / name / self.listed[name].get(stem, stem + SUFFIXES[0])
        return self.found[key]

    @staticmethod
    def _list(folder: Path) -> dict[str, str]:
        try:
            names = list(folder.iterdir())
        except OSError:
            return {}
        images = [name for name in names if name.suffix.lower() in SUFFIXES]
        # Backwards, so that of two files with one stem the suffix named first stays.
        images.sort(key=lambda name: (SUFFIXES.index(name.suffix.lower()), name.name))
        return {name.stem: name.name for name in reversed(images)}


def _read_table(file: Path, rows: Sequence[tuple[int, str]], root: Path) -> PairList:
    number, text = rows[0]
    delimiter = "\t" if "\t" in text else ","
    header = [name.strip().lower() for name in text.split(delimiter)]
    missing = set(COLUMNS[:3]) - set(header)
    if missing or set(header) - set(COLUMNS) or len(set(header)) != len(header):
        columns = "the columns first, second, same and optionally fold"
        _malformed(
            file, number, f'the first line of LFW\'s format ("10 300" or "500") or {columns}', text
        )
    first, second, same, fold = [], [], [], []
    for number, text in rows[1:]:
        try:
            values = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise ValueError(
                f"{file}, line {number}: expected {delimiter!r}-separated values. "
                f"Received: {text!r} ({error})"
            ) from error
        if len(values) != len(header):
            _malformed(file, number, f"{len(header)} values ({', '.join(header)})", text)
        row = {name: value.strip() for name, value in zip(header, values, strict=True)}
        if not row["first"] or not row["second"]:
            _malformed(file, number, "two paths", text)
        if row["same"].lower() not in _BOOLEANS:
            _malformed(file, number, "same to be 1 or 0, true or false, yes or no", row["same"])
        first.append(root / row["first"])
        second.append(root / row["second"])
        same.append(_BOOLEANS[row["same"].lower()])
        if "fold" in row:
            try:
                fold.append(int(row["fold"]))
            except ValueError:
                _malformed(file, number, "fold to be an integer", row["fold"])
    if not first:
        raise ValueError(f"{file}: expected pairs after the first line. Received: none")
    folds = np.array(fold) if len(set(fold)) > 1 else stratified_folds(same)
    return PairList(first, second, np.array(same), folds)


def is_two_line_list(rows: Rows) -> bool:
    """Whether lines are "image number", as CALFW's and CPLFW's are."""
    fields = rows[0][1].split()
    return len(fields) == 2 and "." in fields[0] and fields[1].isdecimal()


def read_two_line_list(file: Path, rows: Rows, root: Path) -> PairList:
    """CALFW's and CPLFW's lists: a pair is two lines "image number", 0 for two people."""
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
    files = [first[1] for first, _ in pairs], [second[1] for _, second in pairs]
    return PairList(*files, kinds, stratified_folds(kinds))


def read_cfp(folder: Path, protocol: str = "FP") -> PairList:
    """CFP's ten folds, frontal-profile ("FP") or frontal-frontal ("FF").

    `folder` has `Protocol/` (`Pair_list_F.txt`, `Pair_list_P.txt`, `Split/FP/01/same.txt`…) and
    `Data/Images/`. A missing file or malformed line raises ValueError, naming both.
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
