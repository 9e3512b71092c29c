"""Folders of faces, one folder per person, and lists of their images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gfkeras.data.faces import Faces, check_holdout, check_names, decode_files
from gfkeras.data.images import IMAGE_SIZE
from gfkeras.data.sources.listing import existing_folder
from gfkeras.files import IMAGE_SUFFIXES, PathLike, natural_key, replacing


class FaceFolder:
    """A folder that holds one folder of images per identity.

    Nothing is decoded until `load`. Identities and images come in natural order (s2 before s10),
    so that the same folder gives the same labels everywhere.

    Args:
        root: the folder of folders.
        identities: which folders to take and in what order: names, or a text file with one name a
            line. Lines of LFW's lists (`name<TAB>count`, and a first line holding a count) are
            understood. All folders by default.
        min_images: identities with fewer image files are left out.
        images: which files to take, in what order, and whose they are: {path below `root`:
            person}, or a text file that `read_image_list` reads. The identities then come in the
            order of their first image. All files by default.

    Attributes:
        images: the list given, {path: person}, or None.
        identities: the names, one per label.
        paths: the image files.
        labels: (N,) int32, index into `identities` of each file.
        skipped: (path, reason) for each thing in the folder that is not used.

    Raises:
        ValueError: if the folder is missing or holds no images, or lacks a name in `identities`
            or `images`.

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
            found = self._images(self.root / name) if files is None else files
            if len(found) < max(1, min_images):
                reason = f"{len(found)} images, fewer than {min_images}" if found else "no images"
                self.skipped.append((self.root / name, reason))
                continue
            labels += [len(self.identities)] * len(found)
            self.identities.append(name)
            self.paths += found
        self.labels = np.asarray(labels, np.int32)
        if not self.paths:
            raise ValueError(
                f"`root` must hold one folder of images per person "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}). Received: root={str(self.root)!r}, "
                f"which holds {len(people)} folders and no usable image"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, identities: Sequence[str] | PathLike) -> FaceFolder:
        """The same folder with these identities only (names, or a file of names)."""
        return FaceFolder(self.root, read_names(identities), self.min_images, self.images)

    def listed(self) -> list[tuple[str, str]]:
        """(path below `root`, with "/"; person) of each file, as `write_image_list` takes them."""
        return [
            (path.relative_to(self.root).as_posix(), self.identities[label])
            for path, label in zip(self.paths, self.labels, strict=True)
        ]

    def split(self, holdout: int) -> tuple[FaceFolder, FaceFolder]:
        """All but the last `holdout` identities, and those; ValueError if either is empty."""
        check_holdout(holdout, len(self.identities), f" of {str(self.root)!r}")
        first, last = self.identities[:-holdout], self.identities[-holdout:]
        return self.select(first), self.select(last)

    def load(
        self, workers: int | None = None, size: int = IMAGE_SIZE, resize: bool = False
    ) -> Faces:
        """Decodes every image into memory, 37 KiB each at 112×112, on `workers` threads.

        An image of another size is no aligned face, and left out. With `resize` it is scaled to
        fit instead: for faces that are cropped alike, such as ORL's of 92×112, not for photos.

        The result's `skipped` lists images that cannot be read or are no aligned faces, and an
        identity left without any is dropped. ValueError if no image can be used.
        """
        images, kept, unread, resized = decode_files(self.paths, size, workers, resize)
        skipped = self.skipped + unread
        if not kept:
            path, reason = skipped[-1]
            raise ValueError(
                f"None of the {len(self.paths)} images in {str(self.root)!r} can be used; "
                f"the last: {path}: {reason}"
            )
        labels = self.labels[kept]
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
        )

    def _folders(self) -> dict[str, list[Path] | None]:
        """The names of the folders, whose images are not listed yet."""
        folders: dict[str, list[Path] | None] = {}
        for entry in _entries(self.root):
            if entry.is_dir():
                folders[entry.name] = None
            else:
                self.skipped.append((entry, "not in a person's folder"))
        return folders

    def _listed(self, images: dict[str, str]) -> dict[str, list[Path] | None]:
        """The images of each person of a list, in its order."""
        missing = [name for name in images if not (self.root / name).is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ValueError(
                f"`images` must name files below {str(self.root)!r}. Received: {missing[0]!r}{more}"
            )
        people: dict[str, list[Path]] = {}
        for name, person in images.items():
            people.setdefault(person, []).append(self.root / name)
        return {**people}

    def _images(self, folder: Path) -> list[Path]:
        images = []
        for entry in _entries(folder):
            if entry.is_dir():
                self.skipped.append((entry, "a folder inside a person's folder"))
            elif entry.suffix.lower() not in IMAGE_SUFFIXES:
                self.skipped.append((entry, "not an image by its suffix"))
            else:
                images.append(entry)
        return images


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder in natural order, without dot files."""
    shown = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(shown, key=lambda path: natural_key(path.name))


def read_names(identities: Iterable[str] | PathLike) -> list[str]:
    """Names as they are, or from the lines of a file."""
    if not isinstance(identities, (str, os.PathLike)):
        return [str(name) for name in identities]
    lines = read_lines(identities, "identities", "names or a text file of names")
    rows = [line.strip().split("\t") for line in lines if line.strip()]
    # LFW's lists open with a count, or with the number of folds and a count per fold. A number
    # alone is a count only where the other lines carry one too: a person may be called "7".
    if any(len(row) > 1 for row in rows):
        rows = [row for row in rows if not (len(row) == 1 and row[0].isdigit())]
    return [row[0] for row in rows]


def read_lines(path: PathLike, argument: str, expected: str) -> list[str]:
    """The lines of a UTF-8 text file; ValueError, naming `argument`, if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`{argument}` must be {expected}. Received: {argument}={os.fspath(path)!r} ({error})"
        ) from error


def read_image_list(path: PathLike) -> dict[str, str]:
    """Reads a text file with one image a line: `PERSON/FILE`, or `PATH<TAB>PERSON`.

    The path is that below the folder of people, with `/`. Without a second column the person is the
    image's folder; a second column names the person, so that a label can be corrected without
    moving the file. The result is {path: person} in the order of the lines.

    Raises ValueError, naming the line, for a file that cannot be read, a path that leads out of the
    folder or names no person, or an image that comes twice.
    """
    place = os.fspath(path)
    lines = read_lines(path, "images", "a text file with one image a line")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, person = (part.strip() for part in line.partition("\t"))
        parts = PurePosixPath(name).parts
        if not name or PurePosixPath(name).is_absolute() or ".." in parts:
            problem = "a path below the folder of people"
        elif not person and len(parts) < 2:
            problem = "PERSON/FILE, or the person after a tab"
        elif name in found:
            problem = "each image once"
        else:
            found[name] = person or parts[0]
            continue
        raise ValueError(f"{place}, line {number}: expected {problem}. Received: {line!r}")
    if not found:
        raise ValueError(f"`images` must name at least one image. Received: {place!r}, empty")
    return found


def write_image_list(path: PathLike, images: Iterable[tuple[str, str]]) -> None:
    """Writes (path, person) as `read_image_list` reads them, whole or not at all.

    The person is left out where it is the folder's name.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for name, person in images:
            own = PurePosixPath(name).parts[0] == person and "/" in name
            file.write(f"{name}\n" if own else f"{name}\t{person}\n")
