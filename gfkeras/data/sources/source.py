"""Sources of face images: items in a fixed order and their bytes; a folder per person."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gfkeras.data.sources import listing
from gfkeras.data.walk import LeftOut, people_in, photos_in
from gfkeras.files import PathLike
from gfkeras.safe_text import utf8


@dataclasses.dataclass(frozen=True)
class Item:
    """One image of a source, described without reading it.

    Attributes:
        name: unique in the source, parts separated by "/": "Abel_Pacheco/Abel_Pacheco_0001.jpg".
        identity: the name of the person, or None where the source does not say.
        locator: where `Source.read` finds the bytes: plain text, such as a path relative to the
            source's root or "offset:length".
        landmarks: five points (x, y) in pixels of the image: left eye, right eye, nose, left and
            right corner of the mouth as seen in the image; None where the source has none.
    """

    name: str
    identity: str | None
    locator: str
    landmarks: tuple[tuple[float, float], ...] | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """Something in a source that is no image: listed with a reason, never silently left out.

    The kind is a word for counting, of `gfkeras.data.walk.REASONS` where it lies in a folder.
    """

    name: str
    reason: str
    kind: str = "refused"


@dataclasses.dataclass(frozen=True)
class NamedPair:
    """Two images of a verification protocol, by the names of items; folds count from 0."""

    first: str
    second: str
    same: bool
    fold: int = 0


@runtime_checkable
class Source(Protocol):
    """A data set of face images in some format.

    `items` streams: it holds neither the images nor the list of them in memory, and gives the same
    items in the same order each time. A source is pickled into worker processes, so it keeps paths,
    not open files; `read` may open a file on first use and keep it.

    Attributes:
        format: the name of the format, such as "folder" or "recordio".
        path: what was opened.
    """

    format: str
    path: Path

    def items(self) -> Iterator[Item | Refused]:
        """Every image in a fixed order, and what was refused.

        Raises ValueError where the source itself is damaged, naming file, place and reason.
        """
        ...

    def read(self, locator: str) -> bytes:
        """The encoded image (JPEG, PNG, …) of one item; ImageError where it cannot be read."""
        ...

    def pairs(self) -> Iterator[NamedPair] | None:
        """The pairs of a verification protocol; None for a source that has none."""
        return None

    def describe(self) -> dict[str, Any]:
        """Format, path and options, as plain JSON, for `manifest.json`.

        Two sources that describe themselves alike give the same items.
        """
        return {"format": self.format, "path": str(self.path.absolute())}


class FileSource(Source):
    """A source of files under the folder `root`; a subclass gives `items`."""

    root: Path

    def read(self, locator: str) -> bytes:
        """The bytes of the file `locator`, a path under the root."""
        return listing.read_under(self.root, locator)


class FolderSource(FileSource):
    """Images as most data sets come: `root/person/image.jpg`.

    People and images come in natural order (s2 before s10). One person's folder is listed at a
    time, so that memory does not grow with the number of images. What is no image of a person is
    refused with a reason; see `gfkeras.data.walk`. Links may lead out of the root, since whoever
    made the folder made them. Bytes of a name that are no UTF-8 are escaped in names and kept in
    locators.

    Args:
        root: the folder of folders; ValueError if it is not there.

    Example:
        for item in FolderSource("lfw").items():
            ...                     # Item("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco", …)
    """

    format = "folder"

    def __init__(self, root: PathLike):
        holding = "one folder of images per person"
        self.root = self.path = listing.existing_folder("root", root, holding)

    def items(self) -> Iterator[Item | Refused]:
        """Every image, person by person; the locator is the path under the root."""
        found = people_in(self.root)
        yield from refused(self.root, [entry.left_out("loose") for entry in found.loose])
        yield from refused(self.root, found.left_out)
        for person, folder in found.folders.items():
            of_person = photos_in(folder)
            for path in of_person.photos:
                name = f"{folder.name}/{path.name}"
                yield Item(utf8(name), person, listing.locator_of(name))
            yield from refused(self.root, of_person.left_out)


def refused(root: Path, skipped: Iterable[LeftOut]) -> Iterator[Refused]:
    """What a walk under `root` left out, by names of the source."""
    for left in skipped:
        yield Refused(utf8(left.path.relative_to(root).as_posix()), left.reason, left.kind)
