"""Folders of faces, with one folder per person, and lists of their images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gfkeras.data.faces import Faces, check_holdout, check_names, decode_files
from gfkeras.data.images import IMAGE_SIZE, FaceSize
from gfkeras.data.sources.listing import existing_folder
from gfkeras.data.walk import left_out, people_in, photos_in, usual_last
from gfkeras.errors import wrong
from gfkeras.files import PathLike, file_below, replacing
from gfkeras.safe_text import person_name
from gfkeras.text_lists import lines, malformed, quoted, unexpected, unquoted


class FaceFolder:
    """A folder with one folder of images per identity.

    Images are decoded by `load` only. Identities and images come in natural order (s2 before s10),
    so the same folder gives the same labels everywhere. The images of a person are directly in one
    folder of `root`. `gfkeras.data.walk` describes which other files are taken and left out.

    Args:
        root: the folder of folders.
        identities: folders to take, in this order: names, or a text file with one name per line.
            The format of LFW's lists is accepted (`name<TAB>count`, and a first line with a count).
            The default is all folders.
        min_images: identities with fewer image files are left out.
        images: files to take, in this order, and their people: {path below `root`: person}, or a
            text file for `read_image_list`. The identities are then in the order of their first
            image. The default is all files.

    Attributes:
        images: the given list, {path: person}, or None.
        identities: the names, one per label.
        paths: the image files.
        labels: (N,) int32, the index into `identities` of each file.
        skipped: (path, reason) for each unused file or folder.

    Raises:
        ValueError: if the folder is missing or has no images, or a name in `identities` or `images`
            is missing.

    Example:
        folder = FaceFolder("orl_faces")
        training, heldout = folder.split(holdout=10)
        faces = training.load(resize=True)      # 92×112
    """

    def __init__(
        self,
        root: PathLike,
        identities: Sequence[str] | PathLike | None = None,
        min_images: int = 1,
        images: Mapping[str, str] | PathLike | None = None,
    ):
        self.root = Path(root)
        self.min_images = min_images
        self.skipped: list[tuple[Path, str]] = []
        existing_folder("root", self.root, "one folder of images per person")
        if isinstance(images, (str, os.PathLike)):
            images = read_image_list(images)
        self.images = None if images is None else dict(images)
        people = self._folders() if self.images is None else self._listed(self.images)
        if identities is not None:
            names = read_names(identities)
            check_names(names, people, "folders", self.root)
            people = {name: people[name] for name in names}
        self.identities: list[str] = []
        self.paths: list[Path] = []
        labels: list[int] = []
        for name, files in people.items():
            # The files of a list are known. A folder is listed here, one person at a time.
            found = files if isinstance(files, list) else self._images(files)
            if len(found) < max(1, min_images):
                if found:
                    place = self.root / name if isinstance(files, list) else files
                    detail = f"{len(found)}, not {min_images}"
                    self.skipped.append(left_out(place, "few-images", detail))
                continue
            labels += [len(self.identities)] * len(found)
            self.identities.append(name)
            self.paths += found
        self.labels = np.asarray(labels, np.int32)
        usual_last(self.skipped)
        if not self.paths:
            which = ". {}: {}".format(*self.skipped[0]) if self.skipped else ""
            raise ValueError(
                "`root` must contain one folder of images per person, PERSON/IMAGE. Received: "
                f"root={str(self.root)!r}, with {len(people)} folders and no usable image"
                f"{which}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, identities: Sequence[str] | PathLike) -> FaceFolder:
        """Returns the same folder with these identities only (names, or a file of names)."""
        return FaceFolder(self.root, read_names(identities), self.min_images, self.images)

    def listed(self) -> list[tuple[str, str]]:
        """Returns (path below `root` with "/", person) of each file, for `write_image_list`."""
        return [
            (path.relative_to(self.root).as_posix(), self.identities[label])
            for path, label in zip(self.paths, self.labels, strict=True)
        ]

    def split(self, holdout: int) -> tuple[FaceFolder, FaceFolder]:
        """Returns the folder without the last `holdout` identities, and with those only.

        Raises ValueError if either part is empty.
        """
        check_holdout(holdout, len(self.identities), f" of {str(self.root)!r}")
        first, last = self.identities[:-holdout], self.identities[-holdout:]
        return self.select(first), self.select(last)

    def load(
        self, workers: int | None = None, size: FaceSize = IMAGE_SIZE, resize: bool = False
    ) -> Faces:
        """Decodes every image into memory, 37 KiB each at 112×112, on `workers` threads.

        An image of another size is not an aligned face and is left out. With `resize`, it is scaled
        to fit instead. Use this for faces that are all cropped in the same way, such as the 92×112
        images of ORL, but not for photos.

        The `skipped` list of the result names images that cannot be read or are not aligned faces.
        An identity without a usable image is left out. Raises ValueError if no image is usable.
        """
        images, kept, unread, resized = decode_files(self.paths, size, workers, resize)
        skipped = self.skipped + unread
        if not kept:
            path, reason = skipped[-1]
            raise ValueError(
                f"None of the {len(self.paths)} images in {str(self.root)!r} can be used. "
                f"The last: {path}: {reason}"
            )
        labels = self.labels[kept]
        # People without a readable image are dropped, and the labels of the others close the gaps.
        present = np.unique(labels)
        skipped += [
            (self.root / self.identities[label], "no usable image")
            for label in range(len(self.identities))
            if label not in set(present.tolist())
        ]
        return Faces(
            images=images,
            labels=np.searchsorted(present, labels),
            identities=[self.identities[i] for i in present],
            paths=[self.paths[i] for i in kept],
            skipped=skipped,
            resized=resized,
            size=size,
        )

    def _folders(self) -> dict[str, Path | list[Path]]:
        """Returns the folder of each person. Its images are listed later."""
        found = people_in(self.root)
        self.skipped += [entry.left_out("loose") for entry in found.loose]
        self.skipped += found.left_out
        return {**found.folders}

    def _images(self, folder: Path) -> list[Path]:
        found = photos_in(folder)
        self.skipped += found.left_out
        return found.photos

    def _listed(self, images: dict[str, str]) -> dict[str, Path | list[Path]]:
        """Returns the images of each person of a list, in the order of the list."""
        paths = {name: file_below(self.root, name) for name in images}
        missing = [name for name, path in paths.items() if not path.is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise wrong("images", f"name files below {str(self.root)!r}", f"{missing[0]!r}{more}")
        people: dict[str, list[Path]] = {}
        for name, person in images.items():
            people.setdefault(person_name(person), []).append(paths[name])
        return {**people}


def read_names(identities: Iterable[str] | PathLike) -> list[str]:
    """Returns names, or the names in the lines of a file, each in the Unicode form NFC."""
    if not isinstance(identities, (str, os.PathLike)):
        return [person_name(str(name)) for name in identities]
    path, expected = Path(identities), "names or a text file of names"
    rows = [
        (number, [unquoted(field.strip()) for field in line.strip().split("\t")])
        for number, line in _lines(path, "identities", expected)
    ]
    # LFW's lists begin with a count, or with the number of folds and then a count for each fold. A
    # single number is a count only if other lines have counts too: a person can be called "7".
    if any(len(row) > 1 for _, row in rows):
        rows = [(number, row) for number, row in rows if len(row) > 1 or not row[0].isdigit()]
    seen: dict[str, int] = {}
    for number, row in rows:
        name = person_name(row[0])
        if name in seen:
            received = f"{name!r}, which is also in line {seen[name]}"
            raise unexpected(path, number, "each name once", received)
        seen[name] = number
    return list(seen)


def _lines(
    path: Path, argument: str, expected: str, keep_bytes: bool = False
) -> list[tuple[int, str]]:
    """Returns the numbered lines of a text file.

    Raises ValueError, with the name of the argument, if the file cannot be read.
    """
    try:
        return list(lines(path, keep_bytes))
    except OSError as error:
        raise ValueError(
            f"`{argument}` must be {expected}. Received: {argument}={str(path)!r} ({error})"
        ) from error


def read_image_list(path: PathLike) -> dict[str, str]:
    """Reads a text file with one image per line: `PERSON/FILE`, or `PATH<TAB>PERSON`.

    The path is relative to the folder of people and uses `/`. Without a second column, the person
    is the folder of the image. A second column gives the person, so you can correct a label without
    moving the file. The result is {path: person}, in the order of the lines. The text format is
    that of `gfkeras.text_lists.lines`, and either column can be in double quotes.

    Raises ValueError, with the line number, for an unreadable file, a path outside the folder, a
    line without a person, or a repeated image.
    """
    place = Path(path)
    found: dict[str, str] = {}
    expected = "a text file with one image per line"
    for number, line in _lines(place, "images", expected, keep_bytes=True):
        name, _, person = (unquoted(part.strip()) for part in line.partition("\t"))
        if "\\" in name and "/" not in name:
            # The list was written on Windows.
            name = name.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if not name or PurePosixPath(name).is_absolute() or ".." in parts:
            problem = "a path below the folder of people"
        elif not person and len(parts) < 2:
            problem = "PERSON/FILE, or the person after a tab"
        elif "\t" in person:
            problem = "a path and a person, with one tab between"
        elif (name := "/".join(parts)) in found:
            problem = "each image once"
        else:
            found[name] = person or parts[0]
            continue
        raise malformed(place, number, problem, line)
    if not found:
        raise ValueError(f"`images` must name at least one image. Received: {str(place)!r}, empty")
    return found


def write_image_list(path: PathLike, images: Iterable[tuple[str, str]]) -> None:
    """Writes (path, person) pairs for `read_image_list`. A failed write leaves no partial file.

    The person is left out if it is the name of the folder. A name that is not valid UTF-8 keeps its
    bytes. Raises ValueError like `check_listable`.
    """
    images = list(images)
    check_listable(images)
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        for name, person in images:
            own = PurePosixPath(name).parts[0] == person and "/" in name
            file.write(f"{quoted(name)}\n" if own else f"{quoted(name)}\t{quoted(person)}\n")


def check_listable(images: Iterable[tuple[str, str]]) -> None:
    """Raises ValueError for a name with a tab or a line break, which a list cannot contain."""
    for name, person in images:
        if any(character in name + person for character in "\t\r\n"):
            raise ValueError(
                "`images` must name files without tabs and line breaks, because a list cannot "
                f"contain them: rename the file. Received: {name!r} of {person!r}"
            )
