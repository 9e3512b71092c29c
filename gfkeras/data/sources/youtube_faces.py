"""YouTube Faces: people, their videos, and the frames of each video."""

from collections.abc import Iterator
from typing import Any

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, Refused, refused
from gfkeras.data.walk import people_in, photos_in
from gfkeras.errors import one_of
from gfkeras.files import PathLike
from gfkeras.safe_text import utf8

FOLDERS = ("frame_images_DB", "aligned_images_DB")
_BOXES = ".labeled_faces.txt"


class YouTubeFacesSource(FileSource):
    """The frames of YouTube Faces, `frame_images_DB/Person_Name/VIDEO/FRAME.jpg`.

    People, videos and frames come in natural order. Only one video's folder is listed at a time.
    `video_pairs` returns the pairs of the protocol, and `face_boxes` the position of the face in
    each whole frame.

    Args:
        root: the folder with `frame_images_DB` or `aligned_images_DB`.
        images: which of the two to use. The default is the first one that exists.

    Raises:
        ValueError: if the folder does not exist.

    Example:
        source = YouTubeFacesSource("YouTubeFaces", images="aligned_images_DB")
        next(source.video_pairs())      # ("Abel_Pacheco/0", "Adam_Sandler/2", False, 0)
    """

    format = "ytf"

    def __init__(self, root: PathLike, images: str | None = None):
        self.root = self.path = listing.existing_folder("root", root, " or ".join(FOLDERS))
        if images is None:
            images = next((f for f in FOLDERS if (self.root / f).is_dir()), FOLDERS[0])
        self.images = one_of("images", images, FOLDERS)
        self.folder = listing.existing_folder("root", self.root / images, "a folder per person")

    def items(self) -> Iterator[Item | Refused]:
        """Yields every frame, named "Person/VIDEO/FRAME.jpg". The locator is the same path."""
        people = people_in(self.folder)
        # The files with the positions of faces are next to the folders.
        loose = [each for each in people.loose if not each.path.name.endswith(_BOXES)]
        yield from refused(self.folder, [entry.left_out("loose") for entry in loose])
        yield from refused(self.folder, people.left_out)
        for person, folder in people.folders.items():
            videos = people_in(folder)
            yield from refused(self.folder, [each.left_out("loose") for each in videos.loose])
            yield from refused(self.folder, videos.left_out)
            for video in videos.folders.values():
                frames = photos_in(video)
                for path in frames.photos:
                    name = path.relative_to(self.folder).as_posix()
                    yield Item(utf8(name), person, listing.locator_of(name))
                yield from refused(self.folder, frames.left_out)

    def read(self, locator: str) -> bytes:
        """Returns the bytes of the file `locator`, a path in the folder of images."""
        return listing.read_under(self.folder, locator)

    def video_pairs(self) -> Iterator[tuple[str, str, bool, int]]:
        """Yields (first video, second video, same person?, fold from 0) of `splits.txt`.

        A video is "Person/VIDEO", the beginning of the names of its frames. Raises ValueError, with
        file, line, what was expected and received, for a missing file or a malformed line.
        """
        file = listing.existing_file("root", self.root / "splits.txt", "YouTube Faces' pairs")
        for line, text in text_lists.lines(file):
            fields = [field.strip() for field in text.split(",")]
            # The file begins with a heading.
            if fields[0].lower().startswith("split number"):
                continue
            well = len(fields) == 4 and text_lists.is_count(fields[0]) and fields[3] in ("0", "1")
            if not well or int(fields[0]) < 1 or not all(map(_is_video, fields[1:3])):
                expected = "split number from 1, Person/VIDEO, Person/VIDEO, 0 or 1"
                raise text_lists.malformed(file, line, expected, text)
            yield fields[1], fields[2], fields[3] == "1", int(fields[0]) - 1

    def face_boxes(self, person: str) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
        """Yields (frame's name, (centre x, centre y, width, height) in pixels) of a person."""
        if listing.path_problem(person) or "/" in person:
            raise ValueError(f"`person` must be a person's name. Received: person={person!r}")
        path = self.root / FOLDERS[0] / f"{person}{_BOXES}"
        file = listing.existing_file("person", path, "the positions of the person's faces")
        for line, text in text_lists.lines(file):
            fields = text.split(",")
            box = [text_lists.finite(field) for field in fields[2:6]]
            if len(box) != 4 or None in box:
                expected = "Person\\VIDEO\\FRAME.jpg, 0, x, y, width, height, 0, 0"
                raise text_lists.malformed(file, line, expected, text)
            x, y, width, height = (value for value in box if value is not None)
            yield listing.posix(fields[0]), (x, y, width, height)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "images": self.images}


def _is_video(name: str) -> bool:
    return listing.path_problem(name) is None and name.count("/") == 1
