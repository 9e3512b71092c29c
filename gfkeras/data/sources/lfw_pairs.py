"""Images named by an LFW pairs file."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, NamedPair, Refused
from gfkeras.files import IMAGE_SUFFIXES, PathLike

_SUFFIXES = IMAGE_SUFFIXES


class _Row(NamedTuple):
    first: tuple[str, int]
    second: tuple[str, int]
    same: bool
    fold: int


class LFWPairsSource(FileSource):
    """The images of `pairs.txt` and lists like it, each once, in the order they first appear.

    The first line is "10 300" (folds; pairs of each kind in a fold) or "500" (one fold). Then come,
    for each fold, genuine pairs "name i j" and impostor pairs "name i name j", parted by tabs or
    blanks. Image i of a person is `root/name/name_0001.jpg`; other usual suffixes are found too.
    Missing images are refused; their pairs stay, for evaluation to count.

    Args:
        pairs_file: the list.
        root: the folder with one folder of images per person.

    Raises:
        ValueError: naming file and line, for a missing file or root and a malformed line.

    Example:
        source = LFWPairsSource("pairs.txt", "lfw")
        sum(pair.same for pair in source.pairs())       # 3000
    """

    format = "lfw-pairs"

    def __init__(self, pairs_file: PathLike, root: PathLike):
        self.pairs_file = self.path = listing.existing_file("pairs_file", pairs_file, "LFW's pairs")
        self.root = listing.existing_folder("root", root, "one folder of images per person")
        next(self._rows(), None)

    def items(self) -> Iterator[Item | Refused]:
        """The images that the pairs name; the locator is the path under the root."""
        given: set[tuple[str, int]] = set()
        for row in self._rows():
            for image in (row.first, row.second):
                if image not in given:
                    given.add(image)
                    yield self._item(*image)

    def pairs(self) -> Iterator[NamedPair] | None:
        """The pairs in the file's order, with its folds; a list in one fold has fold 0 alone."""
        name = functools.cache(lambda image: self._item(*image).name)
        return (
            NamedPair(name(row.first), name(row.second), row.same, row.fold) for row in self._rows()
        )

    def _item(self, person: str, number: int) -> Item | Refused:
        stem = f"{person}/{person}_{number:04d}"
        problem = listing.path_problem(stem)
        if problem or "/" in person or "\\" in person:
            return Refused(stem + _SUFFIXES[0], problem or "a person's name with a slash")
        for suffix in _SUFFIXES:
            if (self.root / (stem + suffix)).is_file():
                return Item(stem + suffix, person, stem + suffix)
        return Refused(stem + _SUFFIXES[0], "no such file")

    def _rows(self) -> Iterator[_Row]:
        numbered = text_lists.lines(self.pairs_file)
        number, text = next(numbered, (1, ""))
        header = _fields(text)
        if len(header) not in (1, 2) or not all(text_lists.is_count(f) and int(f) for f in header):
            expected = 'numbers of folds and of pairs, as "10 300" or "500"'
            raise text_lists.malformed(self.pairs_file, number, expected, text)
        folds, each = (1, int(header[0])) if len(header) == 1 else map(int, header)
        count = 0
        for number, text in numbered:
            if count == folds * 2 * each:
                expected = f"{count} pairs, as the first line says"
                raise text_lists.malformed(self.pairs_file, number, expected, text)
            fold, within = divmod(count, 2 * each)
            yield self._row(number, text, within < each, fold)
            count += 1
        if count < folds * 2 * each:
            expected = f"{folds * 2 * each} pairs, as the first line says"
            raise text_lists.unexpected(self.pairs_file, number, expected, count)

    def _row(self, line: int, text: str, same: bool, fold: int) -> _Row:
        fields = _fields(text)
        wanted = "a genuine pair, name i j" if same else "an impostor pair, name i name j"
        numbers = (fields[1:3] if same else fields[1::2]) if len(fields) == 4 - same else []
        if not numbers or not all(text_lists.is_count(n) and int(n) for n in numbers):
            raise text_lists.malformed(self.pairs_file, line, f"{wanted} with numbers from 1", text)
        other = fields[0] if same else fields[2]
        if not same and other == fields[0]:
            raise text_lists.malformed(self.pairs_file, line, f"{wanted} of two people", text)
        return _Row((fields[0], int(numbers[0])), (other, int(numbers[1])), same, fold)

    def describe(self) -> dict[str, Any]:
        """Format, pairs file and its size in bytes, and root."""
        size = self.pairs_file.stat().st_size
        return {**super().describe(), "bytes": size, "root": str(self.root.absolute())}


def _fields(text: str) -> list[str]:
    """Tabs part the fields where there are any, so that a name may hold blanks."""
    return [f.strip() for f in text.strip().split("\t")] if "\t" in text else text.split()
