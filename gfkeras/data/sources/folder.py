"""A folder of folders of images, one per person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from gfkeras.data.sources import local
from gfkeras.data.sources.source import Item, NamedPair, Refused


class FolderSource:
    """Images as most data sets come: `root/person/image.jpg`.

    People and images come in natural order (s2 before s10). One person's folder is listed at
    a time, so that memory does not grow with the number of images. Dot files are left out
    without a word; whatever else is no image of a person is refused with a reason. Links may
    lead out of the root: whoever made the folder made them.

    Args:
        root: the folder of folders.

    Raises:
        ValueError: if the folder is not there.

    Example:
        for item in FolderSource("lfw").items():
            ...                     # Item("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco", …)
    """

    format = "folder"

    def __init__(self, root: str | os.PathLike[str]):
        self.root = self.path = local.existing_folder(
            "root", root, "one folder of images per person"
        )

    def items(self) -> Iterator[Item | Refused]:
        """Every image, person by person; the locator is the path under the root."""
        for person in local.entries(self.root):
            name = local.printable(person.name)
            reason = local.folder_problem(person)
            if reason:
                yield Refused(name, reason)
            else:
                yield from self._person(name)

    def _person(self, person: str) -> Iterator[Item | Refused]:
        try:
            found = local.entries(self.root / person)
        except OSError as error:
            yield Refused(person, error.strerror or str(error))
            return
        if not found:
            yield Refused(person, "no images")
        for entry in found:
            name = f"{person}/{local.printable(entry.name)}"
            reason = local.entry_problem(entry)
            yield Refused(name, reason) if reason else Item(name, person, name)

    def read(self, locator: str) -> bytes:
        """The bytes of the file `locator`, a path under the root."""
        return local.read_under(self.root, locator)

    def pairs(self) -> Iterator[NamedPair] | None:
        """None: a folder says who is who, but names no pairs."""
        return None

    def describe(self) -> dict[str, Any]:
        """Format and path."""
        return {"format": self.format, "path": str(self.root.absolute())}
