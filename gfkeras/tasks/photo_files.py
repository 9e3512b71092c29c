"""Files that tasks on photos are given, checked before a model is opened.

Imports nothing heavy: the command line checks its files here before it imports a task.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfkeras.data.walk import (
    LeftOut,
    Photos,
    people_in,
    photo,
    photo_stem,
    photos_in,
    photos_of,
    usual_last,
)
from gfkeras.errors import ImageError
from gfkeras.files import PathLike
from gfkeras.safe_text import person_name


def require_photo(photo: Any) -> Any:
    """Returns a photo, its path as a `Path`; raises ImageError where there is no such file.

    A photo in another form is left to `gfkeras.data.read_photo`.
    """
    if not isinstance(photo, str | os.PathLike):
        return photo
    path = Path(os.fsdecode(photo))
    if not path.exists():
        raise ImageError(str(path), "no such file", "missing")
    if not path.is_file():
        raise ImageError(str(path), "not a regular file", "special")
    return path


def require_sources(sources: Sequence[Path]) -> list[Path]:
    """Returns files and folders; raises ValueError where none of them is there."""
    if sources and not any(not isinstance(path, Path) or path.exists() for path in sources):
        raise unusable(len(sources), "images", "read", sources[0], "no such file")
    return list(sources)


def images_of(sources: Any) -> Photos:
    """Returns the photos given, and those in and below the folders given, in natural order.

    A photo may have any form that `gfkeras.data.read_photo` takes.
    With them comes what was left out of the folders (`gfkeras.data.walk`). Raises ValueError where
    the folders hold no image, and where none of the files is there.
    """
    if not isinstance(sources, str | os.PathLike):
        from gfkeras.data.photos import list_photos

        sources = list_photos(sources, "sources")
    found = photos_of(sources)
    if not found.photos:
        which = "; {}: {}".format(*found.left_out[0]) if found.left_out else ""
        given = [sources] if isinstance(sources, str | os.PathLike) else sources
        names = ", ".join(repr(str(source)) for source in given[:3]) or "none"
        raise ValueError(
            f"`sources` must be photos, or folders that hold some. Received: {names}{which}"
        )
    require_sources(found.photos)
    return found


def require_folder(photos: PathLike) -> Path:
    """Returns the path of a folder of people's photos; raises ValueError where there is none."""
    folder = Path(os.fsdecode(photos)) if isinstance(photos, str | os.PathLike) else None
    if folder is None or not folder.is_dir():
        shown = type(photos).__name__ if folder is None else repr(str(folder))
        raise ValueError(f"`photos` (DIR) must be a folder of photos. Received: {shown}")
    return folder


def photos_of_people(photos: PathLike) -> tuple[dict[str, list[Path]], list[LeftOut]]:
    """Returns the photos of each person, of PERSON/PHOTO and PERSON.jpg, and what is left out.

    People and photos come in natural order. Raises ValueError where there is no photo.
    """
    folder = require_folder(photos)
    found = people_in(folder)
    people: dict[str, list[Path]] = {}
    left_out = found.left_out
    for path in found.folders.values():
        inside = photos_in(path)
        left_out += inside.left_out
        people[person_name(path.name)] = inside.photos
    for entry in map(photo, found.loose):
        if entry.problem is None:
            people.setdefault(person_name(photo_stem(entry.path)), []).append(entry.path)
        else:
            left_out.append(entry.left_out())
    people = {name: files for name, files in people.items() if files}
    usual_last(left_out)
    if not people:
        which = "; {}: {}".format(*left_out[0]) if left_out else ""
        raise ValueError(
            "`photos` (DIR) must hold photos, as PERSON/PHOTO or PERSON.jpg. "
            f"Received: {str(folder)!r} without any{which}"
        )
    return people, left_out


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
