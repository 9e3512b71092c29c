"""Helpers for files: atomic writing, free disk space, hashes and sorting."""

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

# The description of the model in a model folder.
CONFIG_FILE = "config.json"
# The usual suffixes of images, the most usual first. A file with another suffix is opened to see
# whether it is an image.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff",
    ".jpe", ".jfif", ".pnm", ".pbm", ".heic", ".heif", ".avif", ".gif",
)  # fmt: skip
# The suffixes of files that `keras.Model.save` writes.
KERAS_FILES = (".keras", ".h5")

PathLike = str | os.PathLike[str]

# Recipes, cards and model descriptions need at most a few hundred kilobytes.
_MAX_SETTINGS = 16 << 20


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name next to `path`, and renames it to `path` at the end.

    A file or folder that is written under the temporary name appears as `path` only if the block
    ends without an error. After an error, `path` is unchanged. The temporary name keeps the suffix,
    because many writers choose their format by it.

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
            # A folder cannot be renamed over an existing folder: move the old one away first,
            # and put it back if the second rename fails.
            path.rename(retired)
            try:
                temporary.rename(path)
            except OSError:
                retired.rename(path)
                raise
        else:
            temporary.replace(path)
    except OSError as error:
        # Name the file that the user knows: for a full disk the system names no file, and for
        # other errors the temporary one.
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
    """Removes temporary files of `replacing(path)` that killed processes left.

    Call it only if no other process can be writing `path`.
    """
    path = Path(path)
    name = re.compile(rf"\.[0-9a-f]{{8}}\.(old\.)?{re.escape(path.name)}")
    for leftover in [each for each in path.parent.iterdir() if name.fullmatch(each.name)]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def private_folder(path: str | os.PathLike[str]) -> None:
    """Creates a folder and its missing parents, accessible only to the owner.

    Existing folders do not change.
    """
    path = Path(path)
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 text file. It appears only when it is complete."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Writes results as JSON (see `json_values`). The file appears only when it is complete."""
    write_text(path, json.dumps(json_values(results), indent=1) + "\n")


@contextlib.contextmanager
def csv_file(path: PathLike, header: Sequence[str]) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Gives a function that writes a row of a CSV file. The file appears when it is complete.

    Cells are safe for spreadsheets (see `csv_cell`).
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield lambda row: writer.writerow(map(csv_cell, row))


def settings_text(path: PathLike) -> str:
    """Reads the text of a settings file from an unknown source, such as a recipe or a card.

    A byte order mark is left out: editors on Windows can add one. Raises UnicodeDecodeError (a
    ValueError) for a file that is not UTF-8, and OSError like `read_small`.
    """
    return read_small(path).decode("utf-8-sig").replace("\r\n", "\n")


def read_small(path: PathLike, most: int = _MAX_SETTINGS) -> bytes:
    """Reads a small file from an unknown source, of at most 16 MiB.

    Raises OSError for a larger file, and for a file that is not a regular one: a pipe would be
    waited for, and a device could be read without end.
    """
    with open(path, "rb", opener=without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than the {most:,} bytes allowed", os.fspath(path))
    return content


def without_waiting(path: str, flags: int) -> int:
    """Opens a file without blocking. A named pipe would otherwise wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parsed_json(text: str | bytes, most: int = _MAX_SETTINGS) -> Any:
    """Returns the value of a JSON text from an unknown source.

    Raises ValueError if the text is damaged, has a key twice in an object, is nested too deep for
    Python, or is longer than `most` bytes. Values take up to 30 times the memory of their text.
    """
    if len(text) > most:
        raise ValueError(f"expected at most {most:,} bytes of JSON. Received: {len(text):,}")
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON. Python's own parser takes the last of equal keys in silence."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return values


def json_values(value: Any) -> Any:
    """Returns a value for JSON: NaN and infinities become null, and paths become text.

    Bytes in file names that are not valid UTF-8 are escaped.
    """
    if isinstance(value, dict):
        return {utf8(str(key)): json_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    if isinstance(value, (str, Path)):
        return utf8(str(value))
    # NumPy scalars become Python numbers.
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_writable(path: PathLike) -> None:
    """Raises OSError if `path` cannot be written, before the work whose result it will keep.

    The file or folder and its parents may be missing.
    """
    place = Path(path).absolute()
    folder = place if place.is_dir() else place.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder is read-only", str(folder))


def require_room(folder: str | os.PathLike[str], size: int) -> None:
    """Raises OSError if there is no space in a folder for a file of `size` bytes.

    For writers that cannot handle a full disk: HDF5 ends the process. The space is allocated and
    freed again, which also detects quotas and limits of the file size.
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
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: str | os.PathLike[str]) -> str:
    """Returns a SHA-256 of all files in a folder and their names."""
    root, digest = Path(folder), hashlib.sha256()
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Returns a sort key that compares numbers in the text as numbers: s2 before s10.

    Different texts never have equal keys, so the order is the same on every machine: a01 before
    a1, and A before a.
    """
    parts = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.lower())
        for part in re.split(r"(\d+)", str(text))
        if part
    ]
    # The last part is less than any other part, which keeps s1 before s1a.
    return [*parts, (-1, 0, text)]


def file_below(root: Path, name: str) -> Path:
    """Returns `root / name`, or the same name in the spelling of another system if that exists.

    macOS and other systems write "é" in two different ways, and Windows separates folders by
    backslashes.
    """
    path = root / name
    if path.is_file() or (name.isascii() and "\\" not in name):
        return path
    slashed = name.replace("\\", "/")
    # Callers look for ".." with slashes only. A backslash must not become a way out of `root`.
    names = [name] if ".." in slashed.split("/") else [name, slashed]
    for form in ("NFC", "NFD"):
        for each in names:
            other = root / unicodedata.normalize(form, each)
            if other.is_file():
                return other
    return path


def size_bytes(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder, in bytes."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
