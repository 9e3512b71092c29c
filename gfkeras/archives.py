"""Safe reading of zip archives and arrays from unknown sources.

A small file can promise a huge content (a zip bomb). The promised size is compared with the size
of the file before memory is allocated, and content beyond the promised size is an error.
"""

import copy
import io
import math
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gfkeras.errors import reading

# Content of up to ROOM bytes is always allowed, and larger content up to GROWTH times the size of
# the file. Weights and embeddings hardly shrink under compression, so real files stay below.
ROOM = 256 << 20
GROWTH = 8
# NumPy kinds that an array of an .npz can have: numbers and text, but no Python objects, whose
# loading can run code.
_KINDS = "biufcSU"


def require_bounded(path: str | os.PathLike[str], promised: int, size: int) -> None:
    """Raises ValueError if a file of `size` bytes promises far too many bytes of content."""
    if promised > max(ROOM, GROWTH * size):
        raise ValueError(
            f"{os.fspath(path)} is refused: a file of {size:,} bytes that promises {promised:,} "
            f"bytes of content, more than {ROOM >> 20} MiB and {GROWTH} times its size"
        )


@contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive. Raises ValueError if its members together promise too many bytes."""
    path = Path(path)
    with zipfile.ZipFile(path) as archive:
        promised = sum(member.file_size for member in archive.infolist())
        require_bounded(path, promised, path.stat().st_size)
        yield archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns the bytes of a member. Raises ValueError if its size is not the promised one."""
    member = archive.getinfo(name)
    # `ZipFile.read` inflates the whole member before it cuts the result. Reading one byte more
    # than promised from a stream notices a larger member in time.
    probe = copy.copy(member)
    probe.file_size += 1
    with archive.open(probe) as file:
        data = file.read(probe.file_size)
    if len(data) != member.file_size:
        raise ValueError(f"its member {name!r} does not have the stated {member.file_size:,} bytes")
    return data


def read_npz(
    path: str | os.PathLike[str], what: str, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Returns arrays of an .npz file by name. Arrays in `optional` can be missing.

    Args:
        path: the file.
        what: the expected kind of file, for the message, such as "an .npz of `gfkeras embed`".
        names, optional: names of the arrays to read.

    Raises:
        ValueError: if the file is damaged, has not all arrays in `names`, contains Python objects,
            or promises too many bytes.
        OSError: if the file is missing.
    """
    path = Path(path)
    with reading(path, what), open_archive(path) as archive:
        there = set(archive.namelist())
        wanted = [*names, *(name for name in optional if f"{name}.npy" in there)]
        for name in wanted:
            if f"{name}.npy" not in there:
                raise ValueError(f"it has no array {name!r}")
        return {name: read_array(read_member(archive, f"{name}.npy")) for name in wanted}


def read_array(data: bytes) -> np.ndarray:
    """Returns the array in the content of an .npy file. The array is writeable.

    Raises ValueError if the size in the header does not match the content.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array has the unknown version {version}")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in _KINDS or any(side < 0 for side in shape):
        raise ValueError(f"an array has type {dtype} and shape {shape}")
    values = data[stream.tell() :]
    # `math.prod` uses Python integers, which do not overflow for a forged shape.
    if math.prod(shape) * dtype.itemsize != len(values) or not dtype.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(values)} bytes")
    # NumPy stores text as code points, and Python raises SystemError for one that is too large.
    if dtype.kind == "U":
        points = np.frombuffer(values, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if points.size and points.max() > sys.maxunicode:
            raise ValueError("an array has text that is not Unicode")
    array = np.frombuffer(bytearray(values), dtype)
    return array.reshape(shape, order="F" if by_columns else "C")
