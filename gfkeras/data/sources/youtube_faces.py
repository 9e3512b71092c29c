"""YouTube Faces: people, their videos, and the frames of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, Refused
from gfkeras.errors import one_of

FOLDERS = ("frame_images_DB", "aligned_images_DB")
_BOXES = ".labeled_faces.txt"


class YouTubeFacesSource(FileSource):
    """The frames of YouTube Faces, `frame_images_DB/Person_Name/VIDEO/FRAME.jpg`.

    People, videos and frames come in natural order, a video's folder listed at a time.
    `video_pairs` are the protocol's pairs; `face_boxes` say where a whole frame's face is.

    Args:
        root: the folder with `frame_images_DB` or `aligned_images_DB`, else ValueError.
        images: which of the two; by default the first of them that is there.

    Example:
        source = YouTubeFacesSource("YouTubeFaces", images="aligned_images_DB")
        next(source.video_pairs())      # ("Abel_Pacheco/0", "Adam_Sandler/2", False, 0)
    """

    format = "ytf"

    def __init__(self, root: str | os.PathLike[str], images: str | None = None):
        self.root = self.path = listing.existing_folder("root", root, " or ".join(FOLDERS))
        if images is None:
            images = next((f for f in FOLDERS if (self.root / f).is_dir()), FOLDERS[0])
        self.images = one_of("images", images, FOLDERS)
        self.folder = listing.existing_folder("root", self.root / images, "a folder per person")

    def items(self) -> Iterator[Item | Refused]:
        """Every frame, named "Person/VIDEO/FRAME.jpg", which is the locator too."""
        for person in listing.entries(self.folder):
            if person.name.endswith(_BOXES):
                continue
            reason = listing.folder_problem(person)
            if reason:
                yield Refused(listing.printable(person.name), reason)
                continue
            for video in listing.entries(self.folder / person.name):
                yield from self._video(person.name, video)

    def _video(self, person: str, video: os.DirEntry[str]) -> Iterator[Item | Refused]:
        name = f"{person}/{listing.printable(video.name)}"
        reason = listing.folder_problem(video)
        if reason:
            yield Refused(name, reason)
            return
        for frame in listing.entries(Path(video.path)):
            full = f"{name}/{listing.printable(frame.name)}"
            reason = listing.entry_problem(frame)
            yield Refused(full, reason) if reason else Item(full, person, full)

    def read(self, locator: str) -> bytes:
        """The bytes of the file `locator`, a path under the folder of images."""
        return listing.read_under(self.folder, locator)

    def video_pairs(self) -> Iterator[tuple[str, str, bool, int]]:
        """(first video, second video, whether the same person, fold from 0) of `splits.txt`.

        A video is "Person/VIDEO", what the names of its frames start with. A missing file or a
        malformed line raises ValueError, naming file, line, what was expected and received.
        """
        file = listing.existing_file("root", self.root / "splits.txt", "YouTube Faces' pairs")
        for line, text in listing.lines(file):
            fields = [field.strip() for field in text.split(",")]
            if fields[0].lower().startswith("split number"):
                continue
            well = len(fields) == 4 and listing.is_count(fields[0]) and fields[3] in ("0", "1")
            if not well or int(fields[0]) < 1 or not all(map(_is_video, fields[1:3])):
                expected = "split number from 1, Person/VIDEO, Person/VIDEO, 0 or 1"
                raise listing.malformed(file, line, expected, text)
            yield fields[1], fields[2], fields[3] == "1", int(fields[0]) - 1

    def face_boxes(self, person: str) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
        """(frame's name, (centre x, centre y, width, height) in pixels) of a person's frames."""
        if listing.path_problem(person) or "/" in person:
            raise ValueError(f"`person` must be a person's name. Received: person={person!r}")
        path = self.root / FOLDERS[0] / f"{person}{_BOXES}"
        file = listing.existing_file("person", path, "where the faces are")
        for line, text in listing.lines(file):
            fields = text.split(",")
            box = [listing.finite(field) for field in fields[2:6]]
            if len(box) != 4 or None in box:
                expected = "Person\\VIDEO\\FRAME.jpg, 0, x, y, width, height, 0, 0"
                raise listing.malformed(file, line, expected, text)
            x, y, width, height = (value for value in box if value is not None)
            yield listing.posix(fields[0]), (x, y, width, height)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "images": self.images}


def _is_video(name: str) -> bool:
    return listing.path_problem(name) is None and name.count("/") == 1
