"""Pair lists in the format of LFW, and the numbered images that they name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gfkeras.files import IMAGE_SUFFIXES
from gfkeras.text_lists import fields, is_count, malformed, unexpected


class LFWPair(NamedTuple):
    """A pair of a list: two images as (person, number from 1), and the fold from 0."""

    line: int
    first: tuple[str, int]
    second: tuple[str, int]
    same: bool
    fold: int


def is_lfw_header(text: str) -> bool:
    """Whether a line is the first line of an LFW list, such as "10 300" or "500"."""
    header = fields(text)
    return len(header) in (1, 2) and all(map(is_count, header))


def lfw_pairs(path: Path, numbered: Iterable[tuple[int, str]]) -> Iterator[LFWPair]:
    """Yields the pairs of a list from its lines, which `gfkeras.text_lists.lines` reads.

    The first line is "10 300" (number of folds, and of genuine and impostor pairs in each) or "500"
    (one fold). Each fold then has genuine pairs "name i j" and impostor pairs "name i name j",
    separated by tabs or spaces. A name with spaces needs tabs or double quotes if a part of it is a
    number.

    Raises a ValueError that names the line for any other content.
    """
    rows = iter(numbered)
    number, text = next(rows, (1, ""))
    if not is_lfw_header(text) or not all(map(int, fields(text))):
        expected = 'numbers of folds and pairs of at least 1, such as "10 300" or "500"'
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
    wanted = 'a genuine pair "name i j"' if same else 'an impostor pair "name i name j"'
    found = _joined(fields(text), same) if "\t" not in text else fields(text)
    numbers = (found[1:3] if same else found[1::2]) if len(found) == 4 - same else []
    if not numbers or not all(found) or not all(is_count(n) and int(n) for n in numbers):
        raise malformed(path, line, f"{wanted} with numbers from 1", text)
    other = found[0] if same else found[2]
    if not same and other == found[0]:
        raise malformed(path, line, f"{wanted} of two people", text)
    return LFWPair(line, (found[0], int(numbers[0])), (other, int(numbers[1])), same, fold)


def _joined(found: list[str], same: bool) -> list[str]:
    """Returns the fields of a line without tabs, with the parts of a name joined.

    The parts are joined only if the places of the two numbers leave no doubt.
    """
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
    """Finds image i of a person, such as `root/name/name_0001.jpg`, with any image suffix.

    Each folder is listed once. If files differ only in their suffix, the most usual suffix wins.
    """

    def __init__(self, root: Path):
        self.root = root
        self._listed: dict[str, tuple[str, dict[str, str]]] = {}

    def find(self, name: str, number: int) -> str | None:
        """Returns the path below the root, with "/", or None if there is no such file."""
        if name not in self._listed:
            self._listed[name] = self._list(name)
        folder, files = self._listed[name]
        found = files.get(unicodedata.normalize("NFC", f"{name}_{number:04d}"))
        return None if found is None else f"{folder}/{found}"

    def expected(self, name: str, number: int) -> str:
        """Returns the path below the root of an existing or a missing file."""
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
            # In reverse order: if two files have the same stem, the more usual suffix overwrites
            # the other one.
            images.sort(key=lambda f: (IMAGE_SUFFIXES.index(f.suffix.lower()), f.name))
            stems = {unicodedata.normalize("NFC", f.stem): f.name for f in reversed(images)}
            return folder, stems
        return name, {}
