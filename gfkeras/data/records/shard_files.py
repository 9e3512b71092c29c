"""Shard files, readable at any position by any thread, and the index of their records."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.file_bytes import FileBytes
from gfkeras.errors import reading
from gfkeras.files import PathLike

# Much less than the usual limit of 1,024 open files. A set can have more shards than that.
_OPEN_FILES = 128

ENTRY = np.dtype(
    [
        ("offset", "<u8"),  # start of the record's data in its shard
        ("length", "<u4"),  # length of the record's data
        ("image_offset", "<u4"),  # start of the JPEG in the record's data
        ("image_length", "<u4"),
        ("label", "<i4"),
    ]
)


class ShardFiles:
    """Shard files, of which a limited number is open.

    Files are read, not mapped into memory. A read releases Python's global lock while it waits for
    the disk, and access to a mapped file does not.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        # A file that drops out of the cache is closed when no thread uses it any more.
        self._file = functools.lru_cache(_OPEN_FILES)(lambda number: FileBytes(paths[number]))

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Returns `length` bytes of a file from `offset` on, or fewer at its end."""
        return self._file(file).upto(offset, length)

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"])  # type: ignore[misc]


def write_index(path: Path, entries: int, parts: list[Path]) -> None:
    """Joins raw parts, arrays of `ENTRY` without a header, into one `.npy` file at `path`."""
    header = {"descr": np.lib.format.dtype_to_descr(ENTRY), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (entries,)})
        for part in parts:
            file.write(part.read_bytes())


def open_index(path: PathLike, entries: int) -> np.ndarray:
    """Maps an index file as (entries,) `ENTRY`, read-only. Raises ValueError if it does not fit."""
    try:
        with reading(Path(path), "the index of a shard"):
            # An empty file cannot be mapped.
            index = np.load(path, mmap_mode="r" if entries else None, allow_pickle=False)
    except OSError as error:
        raise ValueError(f"{path} is missing: {error}") from error
    if not isinstance(index, np.ndarray):
        raise ValueError(f"{path} is damaged: it is an archive instead of an array")
    if index.dtype != ENTRY or index.shape != (entries,):
        raise ValueError(
            f"{path} is not the index of this manifest: expected {entries} entries of "
            f"{ENTRY.itemsize} bytes. Received: shape {index.shape} of type {index.dtype}"
        )
    return index
