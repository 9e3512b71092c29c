"""Zip archives and arrays that others wrote, read within bounds.

A small file can promise any number of bytes. What is promised is compared with the size of the
file before memory is taken, and a member may not hold more than it promises.
"""

import copy
import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gfkeras.errors import reading

# So many bytes are always granted, and beyond them so many times the size of the file: weights and
# embeddings hardly shrink when they are compressed.
ROOM = 256 << 20
GROWTH = 8
# Lists, numbers and text are all that an array of an .npz may hold.
_KINDS = "biufcSU"


def require_bounded(path: str | os.PathLike[str], promised: int, size: int) -> None:
    """Raises ValueError where a file of `size` bytes promises far more than it can mean."""
    if promised > max(ROOM, GROWTH * size):
        raise ValueError(
            f"{os.fspath(path)} is refused: its {size:,} bytes promise {promised:,} bytes, more "
            f"than {ROOM >> 20} MiB and {GROWTH} times as many as it has"
        )


@contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose members together promise no more than `require_bounded` grants."""
    path = Path(path)
    with zipfile.ZipFile(path) as archive:
        promised = sum(member.file_size for member in archive.infolist())
        require_bounded(path, promised, path.stat().st_size)
        yield archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member; raises ValueError where it holds more or less than it promises."""
    member = archive.getinfo(name)
    # `ZipFile.read` inflates a member as far as it goes, and cuts it afterwards.
    probe = copy.copy(member)
    probe.file_size += 1
    with archive.open(probe) as file:
        data = file.read(probe.file_size)
    if len(data) != member.file_size:
        raise ValueError(f"its member {name!r} does not have the {member.file_size:,} bytes stated")
    return data


def read_npz(
    path: str | os.PathLike[str], what: str, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file by name; those of `optional` may be missing.

    Args:
        path: the file.
        what: what it should be, for the error, such as "an .npz of `gfkeras embed`".
        names, optional: the arrays to read; others are left alone.

    Raises:
        ValueError: for a file that is damaged, lacks an array, holds Python objects, or promises
            more than it has.
        OSError: for one that is missing.
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
    """The array in the bytes of an .npy file, as large as its header says; writeable."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of unknown version {version}")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in _KINDS or any(side < 0 for side in shape):
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    values = data[stream.tell() :]
    # Python's integers do not overflow.
    if math.prod(shape) * dtype.itemsize != len(values) or not dtype.itemsize:
        raise ValueError(f"an array of shape {shape} in {len(values)} bytes")
    array = np.frombuffer(bytearray(values), dtype)
    return array.reshape(shape, order="F" if by_columns else "C")
