"""Files: whole or no results, room on the disk, hashes and order."""

import contextlib
import csv
import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gfkeras.safe_text import csv_cell, utf8

# The description in a folder that a model was saved to.
CONFIG_FILE = "config.json"
# The usual endings of images, the most usual first. What has another one is looked into.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff",
    ".jpe", ".jfif", ".pnm", ".pbm", ".heic", ".heif", ".avif", ".gif",
)  # fmt: skip
# The endings of the files that `keras.Model.save` writes.
KERAS_FILES = (".keras", ".h5")

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path` and renames it over `path` at the end.

    A file or folder written under the temporary name appears under `path` only when the block ends
    without an error; an error leaves what was at `path`. The name's end is kept, since many writers
    choose their format by it.

    Example:
        with replacing("model.tflite") as temporary:
            temporary.write_bytes(flatbuffer)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    temporary = path.with_name(f".{token}.{path.name}")
    retired = path.with_name(f".{token}.old.{path.name}")
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be renamed over a folder: move the old one away first,
            # and put it back should the second rename fail.
            path.rename(retired)
            try:
                temporary.rename(path)
            except OSError:
                retired.rename(path)
                raise
        else:
            temporary.replace(path)
    except OSError as error:
        # Of a full disk the system names no file, and nobody knows the temporary name.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        for leftover in (temporary, retired):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Removes what killed processes left of `replacing(path)`.

    Call it only where nobody else can be writing `path`.
    """
    path = Path(path)
    name = re.compile(rf"\.[0-9a-f]{{8}}\.(old\.)?{re.escape(path.name)}")
    for leftover in [each for each in path.parent.iterdir() if name.fullmatch(each.name)]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def private_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder, and those above it, for its owner only; those that are there stay."""
    path = Path(path)
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Writes results as JSON, whole or not at all; see `json_values`."""
    write_text(path, json.dumps(json_values(results), indent=1) + "\n")


@contextlib.contextmanager
def csv_file(path: PathLike, header: Sequence[str]) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Gives a function that writes a row of a CSV file, which appears when it is whole.

    Cells are safe for spreadsheets; see `csv_cell`.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield lambda row: writer.writerow(map(csv_cell, row))


def read_small(path: PathLike, most: int = 2**24) -> bytes:
    """The content of a small file, such as a description; 16 MiB at most.

    Raises OSError for what is no regular file, so that no pipe is waited for and no device is read
    without end, and for a file that is larger.
    """
    with open(path, "rb", opener=waiting_for_nobody) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than the {most:,} bytes allowed", os.fspath(path))
    return content


def waiting_for_nobody(path: str, flags: int) -> int:
    """Opens a pipe without waiting for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parsed_json(text: str | bytes) -> Any:
    """The value of a JSON text that others wrote; every damage is a ValueError, as is a text
    nested so deep that Python gives up."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def json_values(value: Any) -> Any:
    """Returns a value as JSON can hold it: NaN and infinities become null, paths text.

    Bytes of a file's name that are no UTF-8 are escaped.
    """
    if isinstance(value, dict):
        return {utf8(str(key)): json_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    if isinstance(value, (str, Path)):
        return utf8(str(value))
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_room(folder: str | os.PathLike[str], size: int) -> None:
    """Raises OSError where a file of `size` bytes does not fit into a folder.

    For writers that do not survive a full disk: HDF5 ends the process. The room is taken
    and given back, which also finds quotas and limits of the file size.
    """
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder))
        return
    path = Path(folder) / f".{uuid.uuid4().hex[:8]}.room"
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
    finally:
        path.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: str | os.PathLike[str]) -> str:
    """One SHA-256 of all files of a folder and their names."""
    root, digest = Path(folder), hashlib.sha256()
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A sort key in which numbers count as numbers: s2 before s10.

    Two texts never tie: a01 comes before a1, and A before a, on every machine.
    """
    parts = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.lower())
        for part in re.split(r"(\d+)", str(text))
        if part
    ]
    # Less than any part, so that s1 stays before s1a.
    return [*parts, (-1, 0, text)]


def file_below(root: Path, name: str) -> Path:
    """`root / name`, or where that is no file, the same name as another system writes it.

    Lists and folders made on macOS and elsewhere write "é" in two ways, and Windows parts folders
    by backslashes.
    """
    path = root / name
    if path.is_file() or (name.isascii() and "\\" not in name):
        return path
    slashed = name.replace("\\", "/")
    # A list must not climb out by a way that was not looked at.
    names = [name] if ".." in slashed.split("/") else [name, slashed]
    for form in ("NFC", "NFD"):
        for each in names:
            other = root / unicodedata.normalize(form, each)
            if other.is_file():
                return other
    return path


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
