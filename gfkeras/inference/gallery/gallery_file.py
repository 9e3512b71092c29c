"""The file of a gallery: columns that can be mapped, every byte covered by a checksum.

    magic (8 bytes) · version (u32) · length of the header (u32) · CRC32C of what comes before and
    of the header (u32) · header (JSON) · columns, each from a multiple of 64 bytes on

The header names each column, its type, shape, place and CRC32C. Gaps are zeros. Little-endian.
"""

import json
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt

from gfkeras.files import replacing

MAGIC = b"GFKFACES"
VERSION = 1
_PREFIX = struct.Struct("<8sIII")
_ALIGNMENT = 64
_MAX_HEADER = 1 << 24
_CHUNK = 1 << 24

Columns = dict[str, npt.NDArray[Any]]
Parts = Sequence[npt.NDArray[Any]]


def write_gallery_file(
    path: str | os.PathLike[str], description: dict[str, Any], columns: dict[str, Parts]
) -> None:
    """Writes a file whole or not at all; processes that have the old one open keep reading it.

    The parts of a column follow each other in the file. `description` is plain JSON.
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
    with replacing(path) as temporary, temporary.open("wb") as file:
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


def read_gallery_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Columns]:
    """Reads what `write_gallery_file` wrote; the columns lie in the mapped, read-only file.

    Every checksum is computed, which reads the whole file once. A file that is truncated, damaged,
    of another version or no gallery is a ValueError.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
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
        content = json.loads(header)
        start = _aligned(_PREFIX.size + length)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(mapped, np.uint8)
    end, columns = _PREFIX.size + length, {}
    for name, place in content["columns"].items():
        kind, shape = np.dtype(place["type"]), tuple(place["shape"])
        begin = start + place["offset"]
        stop = begin + int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if begin < end or kind.hasobject:
            raise _damaged(path, f"its column {name!r} cannot lie there")
        if stop > size:
            raise _damaged(path, f"it ends at byte {size} of {stop}")
        if data[end:begin].any():
            raise _damaged(path, "there is something between its columns")
        kept = data[begin:stop]
        if _checksum(_chunks([kept])) != place["crc32c"]:
            raise _damaged(path, f"its column {name!r} does not have its checksum")
        columns[name] = kept.view(kind).reshape(shape)
        end = stop
    if size != max(end, start) or data[end:].any():
        raise _damaged(path, f"it has {size} bytes in place of {max(end, start)}")
    return content["description"], columns


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
