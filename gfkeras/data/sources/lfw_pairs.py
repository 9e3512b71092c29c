"""Images from an LFW pairs file."""

import functools
from collections.abc import Iterator

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import Item, ListSource, NamedPair, Refused
from gfkeras.files import PathLike
from gfkeras.lfw_lists import LFWPair, NumberedImages, lfw_pairs
from gfkeras.safe_text import person_name, utf8


class LFWPairsSource(ListSource):
    """The images of `pairs.txt` and similar lists, each once, in the order of the list.

    `gfkeras.lfw_lists.lfw_pairs` describes the format. Image number 1 of a person is
    `root/name/name_0001.jpg`, or the same name with another usual suffix. Missing images are
    refused. Their pairs stay in the list, and evaluation counts them.

    Args:
        pairs_file: the list.
        root: the folder with one folder of images per person.

    Raises:
        ValueError: with file and line, for a missing file or root and a malformed line.

    Example:
        source = LFWPairsSource("pairs.txt", "lfw")
        sum(pair.same for pair in source.pairs())       # 3000
    """

    format = "lfw-pairs"

    def __init__(self, pairs_file: PathLike, root: PathLike):
        self.file = self.path = listing.existing_file("pairs_file", pairs_file, "LFW's pairs")
        self.root = listing.existing_folder("root", root, "one folder of images per person")
        self._images = NumberedImages(self.root)
        # Read the first line now, so that a wrong file fails before any work is done.
        next(self._rows(), None)

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images that the pairs name. The locator is the path under the root."""
        given: set[tuple[str, int]] = set()
        for row in self._rows():
            for image in (row.first, row.second):
                if image not in given:
                    given.add(image)
                    yield self._item(*image)

    def pairs(self) -> Iterator[NamedPair] | None:
        """Returns the pairs in the order of the file, with their folds. A single fold is fold 0."""
        # An image can be in many pairs, and finding its file takes time.
        name = functools.cache(lambda image: self._item(*image).name)
        return (
            NamedPair(name(row.first), name(row.second), row.same, row.fold) for row in self._rows()
        )

    def _item(self, person: str, number: int) -> Item | Refused:
        expected = self._images.expected(person, number)
        problem = listing.path_problem(f"{person}/{person}")
        if problem or "/" in person or "\\" in person:
            return Refused(expected, problem or "a person's name with a slash")
        found = self._images.find(person, number)
        if found is None:
            return Refused(expected, "no such file", "missing")
        return Item(utf8(found), person_name(person), listing.locator_of(found))

    def _rows(self) -> Iterator[LFWPair]:
        return lfw_pairs(self.file, text_lists.lines(self.file))
