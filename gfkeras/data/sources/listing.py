"""Listings of image files: safe names, reading under a root, lines of lists."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gfkeras.data.photos import MAX_BYTES
from gfkeras.errors import ImageError
from gfkeras.files import IMAGE_SUFFIXES, PathLike, natural_key

# No list of images has a longer line; without a bound, a file without line ends would be read
# into memory whole.
MAX_LINE = 1 << 16


def existing_folder(argument: str, path: PathLike, holding: str) -> Path:
    """`path` if it is a folder; else ValueError, naming what the folder should hold."""
    return _existing(argument, Path(path), f"a folder with {holding}", "a folder", Path.is_dir)


def existing_file(argument: str, path: PathLike, holding: str) -> Path:
    """`path` if it is a regular file; else ValueError as of `existing_folder`."""
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
    """Why a relative path from a list must not be followed; None where it may be.

    Lists come from the internet: they name images under a root and nothing else.
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


def image_problem(name: str) -> str | None:
    """Why a path from a list is not an image that may be read; None where it may be."""
    problem = path_problem(name)
    if problem is None and _suffix(name) not in IMAGE_SUFFIXES:
        return "not an image by its suffix"
    return problem


def _suffix(name: str) -> str:
    # pathlib would intern the parts of every name; over millions that takes time and memory.
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem else ""


def posix(name: str) -> str:
    """A path of a list with "/" between its parts, and without "." and empty parts."""
    parts = name.strip().replace("\\", "/").split("/")
    # The first part stays when empty: an absolute path must not turn into a relative one.
    return "/".join(parts[:1] * (parts[0] != ".") + [p for p in parts[1:] if p not in ("", ".")])


def printable(name: str) -> str:
    """A name as text that can be written as UTF-8, whatever bytes the file system gave."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_under(root: Path, locator: str) -> bytes:
    """The bytes of the file `locator`, a path relative to `root`.

    Raises ImageError where the path leaves the root or the file is missing, unreadable, empty, or
    no regular file (opening a pipe would wait for ever).
    """
    problem = path_problem(locator)
    path = root / locator
    if problem is not None:
        raise ImageError(locator, problem)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(str(path), "not a regular file")
        if status.st_size > MAX_BYTES:
            reason = f"{status.st_size:,} bytes, more than the {MAX_BYTES:,} allowed"
            raise ImageError(locator, reason, "too-large")
        content = path.read_bytes()
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(str(path), "no such file", "missing") from error
    except (OSError, ValueError) as error:
        raise ImageError(str(path), getattr(error, "strerror", None) or str(error)) from error
    if not content:
        raise ImageError(str(path), "the file is empty", "empty")
    return content


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder in natural order, without dot files."""
    with os.scandir(folder) as found:
        kept = [entry for entry in found if not entry.name.startswith(".")]
    # Natural order ignores case; the name itself decides between "A" and "a".
    return sorted(kept, key=lambda entry: (natural_key(entry.name), entry.name))


def folder_problem(entry: os.DirEntry[str]) -> str | None:
    """Why something is not used as a folder of images; None for such a folder."""
    if not entry.is_dir():
        return "not in a folder of images"
    return None if printable(entry.name) == entry.name else "the folder's name is not UTF-8"


def entry_problem(entry: os.DirEntry[str]) -> str | None:
    """Why something in a person's folder is not used as an image; None for an image."""
    if entry.is_dir():
        return "a folder inside a person's folder"
    if printable(entry.name) != entry.name:
        return "the file's name is not UTF-8"
    if _suffix(entry.name) not in IMAGE_SUFFIXES:
        return "not an image by its suffix"
    if not entry.is_file():
        return "a link to nothing" if entry.is_symlink() else "not a regular file"
    return None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text without the line's end) of the lines that are not blank.

    Raises ValueError for a line that is not UTF-8 or has no end in sight.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE):
            number += 1
            if len(raw) == MAX_LINE:
                raise unexpected(path, number, f"lines under {MAX_LINE} bytes", "a longer one")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise malformed(path, number, "UTF-8 text", raw[:80]) from error
            if text.strip():
                yield number, text


def malformed(path: Path, line: int, expected: str, text: str | bytes) -> ValueError:
    """The error for a line of a list that is not as it should be, quoting it."""
    return unexpected(path, line, expected, repr(text)[:300])


def unexpected(path: Path, line: int, expected: str, received: object) -> ValueError:
    """As `malformed`, with a description in place of the text."""
    return ValueError(f"{path}, line {line}: expected {expected}. Received: {received}")


def is_count(text: str, bits: int = 63) -> bool:
    """Whether a field is a whole number of 0 or more that fits into `bits` bits."""
    # The length first: Python refuses to convert numbers of thousands of digits.
    return text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >> bits == 0


def finite(text: str) -> float | None:
    """A field as a number; None where it is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def five_points(values: Sequence[str]) -> tuple[tuple[float, float], ...] | None:
    """x1, y1, …, x5, y5 as five points; None where they are not ten finite numbers."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(values) != 10 or len(numbers) != 10:
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
