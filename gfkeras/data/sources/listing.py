"""Image files under a root folder: safe paths, and reading."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from gfkeras.data.photos import file_contents
from gfkeras.errors import ImageError
from gfkeras.files import PathLike, file_below

# Prefix of locators that hold bytes. A relative path cannot begin in this way.
_BYTES = "//bytes:"


def existing_folder(argument: str, path: PathLike, holding: str) -> Path:
    """Returns `path` if it is a folder. Raises ValueError with the expected content otherwise."""
    return _existing(argument, Path(path), f"a folder with {holding}", "a folder", Path.is_dir)


def existing_file(argument: str, path: PathLike, holding: str) -> Path:
    """Returns `path` if it is a regular file. Raises ValueError otherwise."""
    return _existing(argument, Path(path), f"a file: {holding}", "a regular file", Path.is_file)


def _existing(
    argument: str, path: Path, expected: str, kind: str, is_kind: Callable[[Path], bool]
) -> Path:
    if not is_kind(path):
        reason = f"is not {kind}" if path.exists() else "does not exist"
        raise ValueError(
            f"`{argument}` must be {expected}. Received: {argument}={str(path)!r}, which {reason}"
        )
    return path


def path_problem(name: str) -> str | None:
    """Returns why a relative path from a list must not be used, or None if it is safe.

    Lists come from the internet. They must name images under a root and nothing else.
    """
    if not name:
        return "an empty path"
    if "\0" in name:
        return "a path with a NUL character"
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or re.match(r"[A-Za-z]:[\\/]", name) or (os.name == "nt" and ":" in name):
        return "an absolute path, expected one relative to the root"
    if ".." in parts:
        return "a path that climbs with '..', expected one that stays under the root"
    return None


def posix(name: str) -> str:
    """Returns a path of a list with "/" between its parts, without "." and empty parts."""
    parts = name.strip().replace("\\", "/").split("/")
    # An empty first part is kept, because an absolute path must not become a relative one.
    return "/".join(parts[:1] * (parts[0] != ".") + [p for p in parts[1:] if p not in ("", ".")])


def locator_of(path: str) -> str:
    """Returns the locator of a path under a root: the path, or its bytes if it is not UTF-8.

    Locators are stored in databases and files that accept only valid Unicode.
    """
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return _BYTES + os.fsencode(path).hex()
    return path


def _path_of(locator: str) -> str:
    if locator.startswith(_BYTES):
        try:
            return os.fsdecode(bytes.fromhex(locator[len(_BYTES) :]))
        except ValueError:
            return locator
    return locator


def read_under(root: Path, locator: str) -> bytes:
    """Returns the bytes of the file `locator`, a path relative to `root`.

    Raises ImageError if the path leaves the root, or if the file is missing, unreadable, empty or
    not a regular file. (Opening a pipe could block forever.)
    """
    name = _path_of(locator)
    problem = path_problem(name)
    if problem is not None:
        raise ImageError(locator, problem)
    return file_contents(str(file_below(root, name)))
