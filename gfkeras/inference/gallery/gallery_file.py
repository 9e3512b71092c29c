"""The file of a gallery: columns of numbers, every byte covered by a checksum.

    magic (8 bytes) · version (u32) · length of the header (u32) · CRC32C of what comes before and
    of the header (u32) · header (JSON) · columns, each from a multiple of 64 bytes on

The header names each column, its type, shape, place and CRC32C. Gaps are zeros. Little-endian.
"""

import json
import math
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from gfkeras.files import private_folder, replacing, waiting_for_nobody

MAGIC = b"GFKFACES"
VERSION = 1
_PREFIX = struct.Struct("<8sIII")
_ALIGNMENT = 64
_MAX_HEADER = 1 << 24
_CHUNK = 1 << 24

Columns = dict[str, npt.NDArray[Any]]
Parts = Sequence[npt.NDArray[Any]]


class GalleryFile(NamedTuple):
    """What a file holds; `head` is its beginning, which has the checksums of all the rest."""

    description: dict[str, Any]
    columns: Columns
    head: bytes


def write_gallery_file(
    path: str | os.PathLike[str], description: dict[str, Any], columns: dict[str, Parts]
) -> bytes:
    """Writes a file whole or not at all, for its owner only, and returns its `head`.

    A file that is there is replaced; processes that read the old one keep it. The parts of a column
    follow each other in the file. `description` is plain JSON.
    """
    places: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, parts in columns.items():
        offset = _aligned(offset)
        places[name] = {
            "type": parts[0].dtype.str,
            "shape": [sum(map(len, parts)), *parts[0].shape[1:]],
            "offset": offset,
            "crc32c": _checksum(_chunks(parts)),
        }
        offset += sum(part.nbytes for part in parts)
    header = json.dumps({"description": description, "columns": places}).encode("utf-8")
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header), 0)
    prefix = _PREFIX.pack(MAGIC, VERSION, len(header), _header_checksum(prefix, header))
    private_folder(Path(path).parent)
    with replacing(path) as temporary, open(temporary, "xb", opener=_private) as file:
        file.write(prefix + header)
        start = _aligned(file.tell())
        for name, parts in columns.items():
            _pad(file, start + places[name]["offset"])
            for chunk in _chunks(parts):
                file.write(chunk)
        _pad(file, start + offset)
        # On the disk before the name points to it: a crash leaves the old file or the new one.
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(Path(path).parent)
    return prefix + header


def read_gallery_file(path: str | os.PathLike[str]) -> GalleryFile:
    """Reads what `write_gallery_file` wrote, into memory, and computes every checksum.

    It is not mapped: whoever cuts or overwrites the file in place would end this process with
    SIGBUS, or change its answers. A file that is truncated, damaged, of another version or no
    gallery is a ValueError.
    """
    path = Path(path)
    with open(path, "rb", opener=waiting_for_nobody) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a gallery: it is not a regular file")
        head = _read_head(path, file)
        begin = _aligned(len(head))
        try:
            content = json.loads(head[_PREFIX.size :])
            description, places = dict(content["description"]), dict(content["columns"])
            layout = {name: _Place.of(begin, place) for name, place in places.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(path, f"its header cannot be read: {error!r}") from error
        end = len(head)
        for name, place in layout.items():
            if place.start < end or place.stop < place.start:
                raise _damaged(path, f"its column {name!r} cannot lie there")
            end = place.stop
        size = max(end, begin)
        if status.st_size != size:
            raise _damaged(path, f"it has {status.st_size} bytes in place of {size}")
        # Only now, when the file is known to be as large as it says.
        data = np.empty(size, np.uint8)
        file.seek(0)
        if file.readinto(data.data) != size:
            raise _damaged(path, "it was cut short while it was read")
    if data[: len(head)].tobytes() != head:
        raise _damaged(path, "it was overwritten while it was read")
    end, columns = len(head), {}
    for name, place in layout.items():
        if data[end : place.start].any():
            raise _damaged(path, "there is something between its columns")
        kept = data[place.start : place.stop]
        if _checksum(_chunks([kept])) != place.checksum:
            raise _damaged(path, f"its column {name!r} does not have its checksum")
        columns[name] = kept.view(place.kind).reshape(place.shape)
        end = place.stop
    if data[end:].any():
        raise _damaged(path, "there is something behind its columns")
    return GalleryFile(description, columns, head)


def read_head(path: str | os.PathLike[str]) -> bytes | None:
    """The `head` of a file, by which it is known; None where there is no file."""
    path = Path(path)
    try:
        with open(path, "rb", opener=waiting_for_nobody) as file:
            return _read_head(path, file)
    except FileNotFoundError:
        return None


def _read_head(path: Path, file: BinaryIO) -> bytes:
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size or not prefix.startswith(MAGIC):
        raise ValueError(f"{path} is not a gallery, or only the beginning of one")
    _, version, length, checksum = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise ValueError(
            f"{path}: expected a gallery of version {VERSION}. Received: version {version}, "
            "written by another gfkeras, or damaged"
        )
    header = file.read(min(length, _MAX_HEADER))
    if len(header) != length or _header_checksum(prefix, header) != checksum:
        raise _damaged(path, "its header does not have its checksum")
    return prefix + header


class _Place(NamedTuple):
    """Where a column lies in the file, in bytes, and what it is."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int
    checksum: int

    @classmethod
    def of(cls, begin: int, place: dict[str, Any]) -> "_Place":
        kind, shape = np.dtype(place["type"]), tuple(map(int, place["shape"]))
        if kind.kind not in "iuf" or not 1 <= len(shape) <= 2 or min(shape) < 0:
            raise ValueError(f"a column of {kind} {shape}")
        start = begin + int(place["offset"])
        # Python's integers do not overflow.
        size = math.prod(shape) * kind.itemsize
        return cls(kind, shape, start, start + size, int(place["crc32c"]))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is truncated or damaged: {reason}")


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _pad(file: BinaryIO, offset: int) -> None:
    file.write(bytes(offset - file.tell()))


def _chunks(parts: Parts) -> Iterator[bytes]:
    """The bytes of a column, some MiB at a time."""
    for part in parts:
        flat = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), _CHUNK):
            yield flat[start : start + _CHUNK].tobytes()


def _checksum(chunks: Iterator[bytes]) -> int:
    value = 0
    for chunk in chunks:
        value = google_crc32c.extend(value, chunk)
    return value


def _header_checksum(prefix: bytes, header: bytes) -> int:
    return google_crc32c.extend(google_crc32c.value(prefix[:-4]), header)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
