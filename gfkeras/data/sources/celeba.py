"""Images of CelebA, whose people are in a list."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import Item, ListSource, Refused
from gfkeras.errors import one_of
from gfkeras.files import PathLike

IDENTITY_FILE = "identity_CelebA.txt"
PARTS = ("train", "val", "test")
_PART_FILE = "list_eval_partition.txt"
# The folders of images, and the list of landmarks of each. The first that exists is used.
_LANDMARK_FILES = {
    "img_align_celeba": "list_landmarks_align_celeba.txt",
    "img_celeba": "list_landmarks_celeba.txt",
}


class CelebASource(ListSource):
    """CelebA, as published: images in one folder, and lists beside them.

    A line of `identity_CelebA.txt` is an image and the number of its person: "000001.jpg 2880".
    The lists can be in the folder itself or in `Anno/` and `Eval/`, and the images in a folder
    `img_align_celeba` or `img_celeba`, also inside `Img/`. If the images' list of landmarks is
    there, `prepare --align` uses it and detects no faces. Images that are missing are listed when
    they are read, so a part of the data set is enough.

    Args:
        path: the folder, or its `identity_CelebA.txt`.
        root: the folder of the images. By default, it is found as described.
        part: "train", "val" or "test" of `list_eval_partition.txt`. By default, all images. The
            parts share no person.
        landmarks: whether to use the list of landmarks.

    Raises:
        ValueError: for a missing file or folder, and, with file and line, for a malformed line.

    Example:
        next(CelebASource("CelebA").items()).identity       # "2880"
    """

    format = "celeba"

    def __init__(
        self,
        path: PathLike,
        root: PathLike | None = None,
        part: str | None = None,
        landmarks: bool = True,
    ):
        self.path = Path(path)
        self.part = part if part is None else one_of("part", part, PARTS)
        folder = self.path if self.path.is_dir() else self.path.parent
        # The official lists are in `Anno/` and `Eval/`, the images in `Img/` next to them.
        top = folder.parent if folder.name == "Anno" else folder
        self._places = [folder, top, *(top / name for name in ("Anno", "Eval", "Img"))]
        found = self._find(IDENTITY_FILE) if self.path.is_dir() else self.path
        self.file = listing.existing_file("path", found or folder / IDENTITY_FILE, IDENTITY_FILE)
        images = root if root is not None else self._images() or top / "img_align_celeba"
        self.root = listing.existing_folder("root", images, "the images of CelebA")
        points = _LANDMARK_FILES.get(self.root.name) if landmarks else None
        self.landmark_file = None if points is None else self._find(points)
        self.part_file = None
        if part is not None:
            file = self._find(_PART_FILE) or folder / _PART_FILE
            self.part_file = listing.existing_file("part", file, _PART_FILE)
        # Read the first line now, so that a wrong file fails before any work is done.
        if next(self._rows(self.file), None) is None:
            raise text_lists.unexpected(self.file, 1, 'lines such as "000001.jpg 2880"', "no text")

    def _find(self, name: str) -> Path | None:
        return next((p / name for p in self._places if (p / name).is_file()), None)

    def _images(self) -> Path | None:
        for name in _LANDMARK_FILES:
            for place in self._places:
                # Some archives repeat the name of the folder.
                for folder in (place / name / name, place / name):
                    if folder.is_dir():
                        return folder
        return None

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images in the order of the list. The locator is the path under the root."""
        landmarks = self._landmarks()
        parts = None if self.part_file is None else dict(self._rows(self.part_file))
        for name, person in self._rows(self.file):
            if parts is not None and parts.get(name) != str(PARTS.index(self.part or "")):
                continue
            yield self.listed(name, person, landmarks.get(name))

    def _rows(self, file: Path) -> Iterator[tuple[str, str]]:
        for line, text in text_lists.lines(file):
            row = text_lists.fields(text)
            if len(row) != 2 or not text_lists.is_count(row[1]):
                raise text_lists.malformed(file, line, "an image and a number", text)
            yield listing.posix(row[0]), str(int(row[1]))

    def _landmarks(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """Returns the points of each image: eyes, nose, corners of the mouth, in this order."""
        found: dict[str, tuple[tuple[float, float], ...]] = {}
        if self.landmark_file is None:
            return found
        for line, text in text_lists.lines(self.landmark_file):
            name, *values = text_lists.fields(text)
            points = text_lists.five_points(values)
            # The first two lines are the number of images and the names of the columns.
            if points is None and line <= 2:
                continue
            if points is None:
                raise text_lists.malformed(
                    self.landmark_file, line, "an image and ten numbers", text
                )
            found[listing.posix(name)] = points
        return found

    def describe(self) -> dict[str, Any]:
        """Returns format, path, size of the list in bytes, root, part and list of landmarks."""
        return {
            **super().describe(),
            "part": self.part,
            "landmarks": None if self.landmark_file is None else self.landmark_file.name,
        }
