"""File format of a gallery, in which checksums cover every byte.

    magic (8 bytes) · version (u32) · length of the header (u32) · CRC32C of the fields before it
    and of the header (u32) · header (JSON) · columns, each at a multiple of 64 bytes

The header has name, type, shape, offset and CRC32C of each column. Gaps between columns are zeros.
Numbers are little-endian.
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

from gfkeras.files import private_folder, replacing, without_waiting

MAGIC = b"GFKFACES"
VERSION = 1
_PREFIX = struct.Struct("<8sIII")
_ALIGNMENT = 64
# Limits the memory that a damaged length field can ask for.
_MAX_HEADER = 1 << 24
_CHUNK = 1 << 24

Columns = dict[str, npt.NDArray[Any]]
Parts = Sequence[npt.NDArray[Any]]


class GalleryFile(NamedTuple):
    """The content of a file. `head` is its beginning, with the checksums of all other parts."""

    description: dict[str, Any]
    columns: Columns
    head: bytes


def write_gallery_file(
    path: str | os.PathLike[str], description: dict[str, Any], columns: dict[str, Parts]
) -> bytes:
    """Writes a file completely or not at all, readable for its owner only. Returns its `head`.

    An existing file is replaced. Processes that are reading the old one can continue. The parts of
    a column follow each other in the file. `description` must be plain JSON.
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
        # The content must be on the disk before the rename. A crash then leaves either the old file
        # or the complete new one.
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(Path(path).parent)
    return prefix + header


def read_gallery_file(path: str | os.PathLike[str]) -> GalleryFile:
    """Reads a file of `write_gallery_file` into memory and checks all checksums.

    The file is not memory-mapped. If another program truncated a mapped file, this process would
    end with SIGBUS. If it overwrote the file, the results would change. Raises ValueError if the
    file is truncated, damaged, of another version or not a gallery.
    """
    path = Path(path)
    with open(path, "rb", opener=without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a gallery: it is not a regular file")
        head = _read_head(path, file)
        begin = _aligned(len(head))
        try:
            content = json.loads(head[_PREFIX.size :])
            description, places = dict(content["description"]), dict(content["columns"])
            layout = {name: _Place.of(begin, place) for name, place in places.items()}
        except (
            ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError,
        ) as error:  # fmt: skip
            raise _damaged(path, f"its header cannot be read: {error!r}") from error
        end = len(head)
        for name, place in layout.items():
            if place.start < end or place.stop < place.start:
                raise _damaged(path, f"its column {name!r} has a wrong offset")
            end = place.stop
        size = max(end, begin)
        if status.st_size != size:
            raise _damaged(path, f"it has {status.st_size} bytes instead of {size}")
        # The memory is allocated only now, because a damaged header can state any size.
        data = np.empty(size, np.uint8)
        file.seek(0)
        if file.readinto(data.data) != size:
            raise _damaged(path, "it was cut short while it was read")
    if data[: len(head)].tobytes() != head:
        raise _damaged(path, "it was overwritten while it was read")
    end, columns = len(head), {}
    for name, place in layout.items():
        if data[end : place.start].any():
            raise _damaged(path, "the gaps between its columns are not empty")
        kept = data[place.start : place.stop]
        if _checksum(_chunks([kept])) != place.checksum:
            raise _damaged(path, f"the checksum of its column {name!r} is wrong")
        columns[name] = kept.view(place.kind).reshape(place.shape)
        end = place.stop
    if data[end:].any():
        raise _damaged(path, "there are bytes after its columns")
    return GalleryFile(description, columns, head)


def read_head(path: str | os.PathLike[str]) -> bytes | None:
    """Returns the `head` of a file, which identifies its content, or None if it does not exist."""
    path = Path(path)
    try:
        with open(path, "rb", opener=without_waiting) as file:
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
            f"{path}: expected a gallery of version {VERSION}. Received: version {version}. The "
            "file is damaged or was written by another version of gfkeras"
        )
    header = file.read(min(length, _MAX_HEADER))
    if len(header) != length or _header_checksum(prefix, header) != checksum:
        raise _damaged(path, "the checksum of its header is wrong")
    return prefix + header


class _Place(NamedTuple):
    """Position of a column in the file, in bytes, with its type, shape and checksum."""

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
        # Python's integers do not overflow. NumPy's could, for a shape from a damaged header.
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
    """Yields the bytes of a column in parts of 16 MiB."""
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
    # The rename itself is in the folder, which must reach the disk as well.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
