"""Sources of face images: items in a fixed order, their bytes, and a folder per person."""

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
        name: unique in the source, with "/" between parts: "Abel_Pacheco/Abel_Pacheco_0001.jpg".
        identity: name of the person, or None if the source does not name the person.
        locator: plain text with which `Source.read` finds the bytes, such as a path relative to the
            root of the source, or "offset:length".
        landmarks: five points (x, y) in pixels of the image: left eye, right eye, nose, left and
            right corner of the mouth, as seen in the image. None if the source has no landmarks.
    """

    name: str
    identity: str | None
    locator: str
    landmarks: tuple[tuple[float, float], ...] | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """An entry of a source that is not a usable image. It is listed with a reason, never hidden.

    The kind is a word for counting. For files in folders it is in `gfkeras.data.walk.REASONS`.
    """

    name: str
    reason: str
    kind: str = "refused"


@dataclasses.dataclass(frozen=True)
class NamedPair:
    """Two images of a verification protocol, given by the names of items. Folds count from 0."""

    first: str
    second: str
    same: bool
    fold: int = 0


@runtime_checkable
class Source(Protocol):
    """A data set of face images in some format.

    `items` streams: it keeps neither the images nor a list of them in memory, and yields the same
    items in the same order each time. A source is pickled for worker processes, so it stores paths,
    not open files. `read` can open a file at the first call and keep it open.

    Attributes:
        format: name of the format, such as "folder" or "recordio".
        path: path that was opened.
    """

    format: str
    path: Path

    def items(self) -> Iterator[Item | Refused]:
        """Yields every image in a fixed order, and every refused entry.

        Raises ValueError, with file, place and reason, if the source itself is damaged.
        """
        ...

    def read(self, locator: str) -> bytes:
        """Returns the encoded image (JPEG, PNG, …) of an item, or raises ImageError."""
        ...

    def pairs(self) -> Iterator[NamedPair] | None:
        """Returns the pairs of a verification protocol, or None if the source has no pairs."""
        return None

    def describe(self) -> dict[str, Any]:
        """Returns format, path and options, as plain JSON, for `manifest.json`.

        Two sources with equal descriptions must yield the same items.
        """
        return {"format": self.format, "path": str(self.path.absolute())}


class FileSource(Source):
    """A source of files under the folder `root`. A subclass defines `items`."""

    root: Path

    def read(self, locator: str) -> bytes:
        """Returns the bytes of the file `locator`, a path under the root."""
        return listing.read_under(self.root, locator)


class ListSource(FileSource):
    """A source of files under `root` that are named in the list `file`."""

    file: Path

    def listed(
        self,
        path: str,
        identity: str | None,
        landmarks: tuple[tuple[float, float], ...] | None = None,
    ) -> Item | Refused:
        """Returns the item of a listed path, which is refused if it is not safe."""
        name, reason = utf8(path), listing.path_problem(path)
        return Refused(name, reason) if reason else Item(name, identity, path, landmarks)

    def describe(self) -> dict[str, Any]:
        """Returns format, path, size of the list in bytes, and root."""
        size = self.file.stat().st_size
        return {**super().describe(), "bytes": size, "root": str(self.root.absolute())}


class FolderSource(FileSource):
    """Images in the most common layout: `root/person/image.jpg`.

    People and images come in natural order (s2 before s10). Only one person's folder is listed at a
    time, so memory use does not grow with the number of images. Files that are not images of a
    person are refused with a reason, see `gfkeras.data.walk`. Links can lead out of the root,
    because the owner of the folder made them. If a file name is not UTF-8, its bytes are escaped in
    the name and kept in the locator.

    Args:
        root: the folder of folders.

    Raises:
        ValueError: if the folder does not exist.

    Example:
        for item in FolderSource("lfw").items():
            ...                     # Item("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco", …)
    """

    format = "folder"

    def __init__(self, root: PathLike):
        holding = "one folder of images per person"
        self.root = self.path = listing.existing_folder("root", root, holding)

    def items(self) -> Iterator[Item | Refused]:
        """Yields every image, person by person. The locator is the path under the root."""
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
    """Converts the entries that a walk under `root` left out to `Refused` items."""
    for left in skipped:
        yield Refused(utf8(left.path.relative_to(root).as_posix()), left.reason, left.kind)
