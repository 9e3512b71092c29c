"""A folder of folders of images, one per person."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, Refused


class FolderSource(FileSource):
    """Images as most data sets come: `root/person/image.jpg`.

    People and images come in natural order (s2 before s10). One person's folder is listed at a
    time, so that memory does not grow with the number of images. Dot files are left out without a
    word; anything else that is no image of a person is refused with a reason. Links may lead out of
    the root, since whoever made the folder made them.

    Args:
        root: the folder of folders; ValueError if it is not there.

    Example:
        for item in FolderSource("lfw").items():
            ...                     # Item("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco", …)
    """

    format = "folder"

    def __init__(self, root: str | os.PathLike[str]):
        self.root = self.path = listing.existing_folder(
            "root", root, "one folder of images per person"
        )

    def items(self) -> Iterator[Item | Refused]:
        """Every image, person by person; the locator is the path under the root."""
        for person in listing.entries(self.root):
            name = listing.printable(person.name)
            reason = listing.folder_problem(person)
            if reason:
                yield Refused(name, reason)
            else:
                yield from self._person(name)

    def _person(self, person: str) -> Iterator[Item | Refused]:
        try:
            found = listing.entries(self.root / person)
        except OSError as error:
            yield Refused(person, error.strerror or str(error))
            return
        if not found:
            yield Refused(person, "no images")
        for entry in found:
            name = f"{person}/{listing.printable(entry.name)}"
            reason = listing.entry_problem(entry)
            yield Refused(name, reason) if reason else Item(name, person, name)
