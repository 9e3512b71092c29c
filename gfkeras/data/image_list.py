"""Lists of images and other text lists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gfkeras.files import replacing


def read_lines(path: str | os.PathLike[str], argument: str, expected: str) -> list[str]:
    """The lines of a UTF-8 text file.

    Args:
        path: the file.
        argument: what an error calls it.
        expected: what it must be, for an error.

    Raises:
        ValueError: for a file that cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`{argument}` must be {expected}. Received: {argument}={os.fspath(path)!r} ({error})"
        ) from error


def read_image_list(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads a text file with one image a line: `PERSON/FILE`, or `PATH<TAB>PERSON`.

    The path is that below the folder of people, with `/`. Without a second column the person
    is the folder that the image lies in; with one it is whoever stands there, so that a label can
    be corrected without moving the file.

    Returns:
        {path: person} in the order of the lines.

    Raises:
        ValueError: naming the line, for a file that cannot be read, a path that leads out of the
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


def write_image_list(path: str | os.PathLike[str], images: Iterable[tuple[str, str]]) -> None:
    """Writes what `read_image_list` reads, whole or not at all.

    Args:
        path: the text file.
        images: (path below the folder of people, person). The person is left out where it
            is the folder's name.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for name, person in images:
            own = PurePosixPath(name).parts[0] == person and "/" in name
            file.write(f"{name}\n" if own else f"{name}\t{person}\n")
