"""Checks of the files that users give to tasks on photos.

The module imports nothing heavy: the command line reports a missing file before it imports a task.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfkeras.data import walk
from gfkeras.errors import ImageError, wrong
from gfkeras.files import PathLike
from gfkeras.safe_text import person_name


def require_photo(photo: Any) -> Any:
    """Returns the path of a photo as a `Path`. Raises ImageError if the file does not exist.

    A photo in another form, such as an array, is returned unchanged.
    """
    if not isinstance(photo, str | os.PathLike):
        return photo
    path = Path(os.fsdecode(photo))
    if not path.exists():
        raise ImageError(str(path), "no such file", "missing")
    # A folder, pipe or device cannot be a photo, and reading a pipe could wait forever.
    if not path.is_file():
        reason = "a folder, not a photo" if path.is_dir() else "not a regular file"
        raise ImageError(str(path), reason, "special")
    return path


def require_sources(sources: Sequence[Path]) -> list[Path]:
    """Returns the files and folders. Raises ValueError if none of them exists."""
    if sources and not any(not isinstance(path, Path) or path.exists() for path in sources):
        raise unusable(len(sources), "images", "read", sources[0], "no such file")
    return list(sources)


def images_of(sources: Any) -> walk.Photos:
    """Returns the given photos, and the photos in given folders and their subfolders.

    The photos are in natural order and have any form that `gfkeras.data.read_photo` takes. The
    result also lists the files that were left out (see `gfkeras.data.walk`). Raises ValueError if
    the folders have no images, or if none of the files exists.
    """
    if not isinstance(sources, str | os.PathLike):
        from gfkeras.data.photos import list_photos

        sources = list_photos(sources, "sources")
    found = walk.photos_of(sources)
    if not found.photos:
        which = "; {}: {}".format(*found.left_out[0]) if found.left_out else ""
        given = [sources] if isinstance(sources, str | os.PathLike) else sources
        names = ", ".join(repr(str(source)) for source in given[:3]) or "none"
        raise wrong("sources", "be photos, or folders with photos", f"{names}{which}")
    require_sources(found.photos)
    return found


def require_folder(photos: PathLike) -> Path:
    """Returns the path of a folder of photos. Raises ValueError if it does not exist."""
    folder = Path(os.fsdecode(photos)) if isinstance(photos, str | os.PathLike) else None
    if folder is None or not folder.is_dir():
        shown = type(photos).__name__ if folder is None else repr(str(folder))
        raise ValueError(f"`photos` (DIR) must be a folder of photos. Received: {shown}")
    return folder


def photos_of_people(photos: PathLike) -> tuple[dict[str, list[Path]], list[walk.LeftOut]]:
    """Returns the photos of each person, from PERSON/PHOTO and PERSON.jpg, and the files left out.

    People and photos are in natural order. Raises ValueError if there is no photo.
    """
    folder = require_folder(photos)
    found = walk.people_in(folder)
    people: dict[str, list[Path]] = {}
    left_out = found.left_out
    for path in found.folders.values():
        inside = walk.photos_in(path)
        left_out += inside.left_out
        people[person_name(path.name)] = inside.photos
    for entry in map(walk.photo, found.loose):
        if entry.problem is None:
            people.setdefault(person_name(walk.photo_stem(entry.path)), []).append(entry.path)
        else:
            left_out.append(entry.left_out())
    people = {name: files for name, files in people.items() if files}
    walk.usual_last(left_out)
    if not people:
        which = "; {}: {}".format(*left_out[0]) if left_out else ""
        received = f"{str(folder)!r} without photos{which}"
        raise wrong("photos (DIR)", "have photos as PERSON/PHOTO or PERSON.jpg", received)
    return people, left_out


def require_gallery(location: PathLike) -> str:
    """Returns the place of a gallery. Raises ValueError if the file does not exist."""
    name = os.fspath(location)
    # A server cannot be checked without a connection, which is opened later.
    if "://" not in name and not Path(name).exists():
        raise wrong("gallery", "exist; `gfkeras enroll` creates it", f"gallery={name}")
    return name


def unusable(count: int, kind: str, use: str, path: object, reason: str) -> ValueError:
    """Returns the error for a task if none of its files is usable."""
    return ValueError(f"None of the {count} {kind} can be {use}; {path}: {reason}")


def check_drawn(path: PathLike | None, name: str = "picture") -> None:
    """Raises ValueError if the name of an image to write does not end in .png or .jpg."""
    if path is not None and Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"`{name}` must end in .png or .jpg. Received: {name}={str(path)!r}")
