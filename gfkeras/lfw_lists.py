"""LFW's lists of pairs: their lines, and the images that they number."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gfkeras.files import IMAGE_SUFFIXES
from gfkeras.text_lists import fields, is_count, malformed, unexpected


class LFWPair(NamedTuple):
    """A line: two images as (person, number from 1), whether of one person, the fold from 0."""

    line: int
    first: tuple[str, int]
    second: tuple[str, int]
    same: bool
    fold: int


def is_lfw_header(text: str) -> bool:
    """Whether a first line is LFW's: "10 300" or "500"."""
    header = fields(text)
    return len(header) in (1, 2) and all(map(is_count, header))


def lfw_pairs(path: Path, numbered: Iterable[tuple[int, str]]) -> Iterator[LFWPair]:
    """The pairs of a list, from its lines as `gfkeras.text_lists.lines` gives them.

    The first line is "10 300" (folds; pairs of each kind in a fold) or "500" (one fold). Then come,
    for each fold, genuine pairs "name i j" and impostor pairs "name i name j", parted by tabs or
    blanks. A name with blanks needs tabs or double quotes where a part of it is a number.

    Raises ValueError, naming the line, for anything else.
    """
    rows = iter(numbered)
    number, text = next(rows, (1, ""))
    if not is_lfw_header(text) or not all(map(int, fields(text))):
        expected = 'numbers of folds and of pairs from 1, as "10 300" or "500"'
        raise malformed(path, number, expected, text)
    header = list(map(int, fields(text)))
    folds, each = (1, header[0]) if len(header) == 1 else (header[0], header[1])
    expected = f"{folds * 2 * each} pairs, as the first line says"
    count = 0
    for number, text in rows:
        if count == folds * 2 * each:
            raise malformed(path, number, expected, text)
        fold, within = divmod(count, 2 * each)
        yield _pair(path, number, text, within < each, fold)
        count += 1
    if count < folds * 2 * each:
        raise unexpected(path, number, expected, count)


def _pair(path: Path, line: int, text: str, same: bool, fold: int) -> LFWPair:
    wanted = "a genuine pair, name i j" if same else "an impostor pair, name i name j"
    found = _joined(fields(text), same) if "\t" not in text else fields(text)
    numbers = (found[1:3] if same else found[1::2]) if len(found) == 4 - same else []
    if not numbers or not all(found) or not all(is_count(n) and int(n) for n in numbers):
        raise malformed(path, line, f"{wanted} with numbers from 1", text)
    other = found[0] if same else found[2]
    if not same and other == found[0]:
        raise malformed(path, line, f"{wanted} of two people", text)
    return LFWPair(line, (found[0], int(numbers[0])), (other, int(numbers[1])), same, fold)


def _joined(found: list[str], same: bool) -> list[str]:
    """The fields of a line without tabs, the parts of a name put together where that is sure."""
    counts = [place for place, field in enumerate(found) if is_count(field)]
    end = len(found) - 1
    if len(found) <= 4 - same or len(counts) != 2 or counts[1] != end or not counts[0]:
        return found
    if same:
        return [" ".join(found[: end - 1]), *found[end - 1 :]] if counts[0] == end - 1 else found
    if counts[0] == end - 1:
        return found
    first, second = found[: counts[0]], found[counts[0] + 1 : end]
    return [" ".join(first), found[counts[0]], " ".join(second), found[end]]


class NumberedImages:
    """Finds image i of a person, `root/name/name_0001.jpg`, whatever its suffix.

    Each folder is listed once. Of files that differ by their suffix only, the most usual counts.
    """

    def __init__(self, root: Path):
        self.root = root
        self._listed: dict[str, tuple[str, dict[str, str]]] = {}

    def find(self, name: str, number: int) -> str | None:
        """The path below the root, with "/"; None where there is no such file."""
        if name not in self._listed:
            self._listed[name] = self._list(name)
        folder, files = self._listed[name]
        found = files.get(unicodedata.normalize("NFC", f"{name}_{number:04d}"))
        return None if found is None else f"{folder}/{found}"

    def expected(self, name: str, number: int) -> str:
        """The path below the root where the file is, or would be."""
        return self.find(name, number) or f"{name}/{name}_{number:04d}{IMAGE_SUFFIXES[0]}"

    def _list(self, name: str) -> tuple[str, dict[str, str]]:
        forms = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
        for folder in dict.fromkeys(forms):
            try:
                with os.scandir(self.root / folder) as entries:
                    files = [Path(entry.name) for entry in entries if entry.is_file()]
            except OSError:
                continue
            images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
            # Backwards, so that of two files with one stem the suffix named first stays.
            images.sort(key=lambda f: (IMAGE_SUFFIXES.index(f.suffix.lower()), f.name))
            stems = {unicodedata.normalize("NFC", f.stem): f.name for f in reversed(images)}
            return folder, stems
        return name, {}
