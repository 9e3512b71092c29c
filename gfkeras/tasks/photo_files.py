"""Files that tasks on photos are given, checked before a model is opened.

Imports nothing heavy: the command line checks its files here before it imports a task.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfkeras.errors import ImageError
from gfkeras.files import IMAGE_SUFFIXES, PathLike, natural_key


def require_photo(photo: Any) -> Any:
    """Returns a photo, its path as a `Path`; raises ImageError where there is no such file.

    A photo in another form is left to `gfkeras.data.read_photo`.
    """
    if not isinstance(photo, str | os.PathLike):
        return photo
    path = Path(photo)
    if not path.exists():
        raise ImageError(str(path), "no such file", "missing")
    return path


def photos_of(sources: Any) -> list[Any]:
    """Returns photos in any form, as `images_of` does with paths; ValueError names `sources`."""
    if isinstance(sources, str | os.PathLike):
        return list(images_of(sources))
    from gfkeras.data.photos import list_photos

    given = list_photos(sources, "sources")
    if all(isinstance(photo, str | os.PathLike) for photo in given):
        return list(images_of(given))
    found: list[Any] = []
    for photo in given:
        found += images_of(photo) if isinstance(photo, str | os.PathLike) else [photo]
    return found


def images_of(sources: PathLike | Sequence[PathLike]) -> list[Path]:
    """Returns the files given, and the images in the folders given, in natural order.

    Raises ValueError for a folder without images, and where none of the files is there.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths: list[Path] = []
    for source in map(Path, given):
        found = images_in(source) if source.is_dir() else [source]
        if not found:
            raise ValueError(f"No images in the folder {str(source)!r}")
        paths += found
    if not paths:
        raise ValueError("`sources` must name at least one image. Received: none")
    if not any(path.exists() for path in paths):
        raise unusable(len(paths), "images", "read", paths[0], "no such file")
    return paths


def images_in(folder: Path) -> list[Path]:
    """Returns the images in a folder and its folders, in natural order."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found, key=lambda path: natural_key(str(path)))


def require_folder(photos: PathLike) -> Path:
    """Returns the path of a folder of people's photos; raises ValueError where there is none."""
    folder = Path(photos)
    if not folder.is_dir():
        raise ValueError(f"`photos` (DIR) must be a folder of photos. Received: {str(folder)!r}")
    return folder


def photos_of_people(folder: Path) -> dict[str, list[Path]]:
    """Returns the photos of each person, in natural order, of PERSON/*.jpg and PERSON.jpg."""
    people: dict[str, list[Path]] = {}
    for path in images_in(require_folder(folder)):
        if not path.name.startswith("."):
            inside = path.relative_to(folder).parts
            name = path.stem if len(inside) == 1 else inside[0]
            people.setdefault(name, []).append(path)
    if not people:
        raise ValueError(f"`photos` (DIR) must hold photos. Received: {str(folder)!r} without any")
    return people


def require_gallery(location: PathLike) -> str:
    """Returns the place of a gallery; raises ValueError for a file that is not there."""
    name = os.fspath(location)
    if "://" not in name and not Path(name).exists():
        raise ValueError(f"`gallery` must be there; `gfkeras enroll` makes it. Received: {name}")
    return name


def unusable(count: int, kind: str, use: str, path: object, reason: str) -> ValueError:
    """Returns the error of a task to which none of its files is of use."""
    return ValueError(f"None of the {count} {kind} can be {use}; {path}: {reason}")


def check_drawn(path: PathLike | None, name: str = "picture") -> None:
    """Raises ValueError for a drawn image of a format other than PNG and JPEG."""
    if path is not None and Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"`{name}` must end in .png or .jpg. Received: {name}={str(path)!r}")
