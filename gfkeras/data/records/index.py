"""Where each record of a split lies: a `.npy` file that is mapped, not read.

Opening ten million records so takes as long as opening ten, and any record can be read
without those before it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

ENTRY = np.dtype(
    [
        ("offset", "<u8"),  # of the record's data in its shard
        ("length", "<u4"),  # of the record's data
        ("image_offset", "<u4"),  # of the JPEG in the record's data
        ("image_length", "<u4"),
        ("label", "<i4"),
    ]
)


def write_index(path: Path, entries: int, parts: list[Path]) -> None:
    """Joins raw parts, arrays of `ENTRY` without a header, into one `.npy` file.

    Args:
        path: the file; written in place, so give a temporary name.
        entries: how many there are in all.
        parts: in order.
    """
    header = {"descr": np.lib.format.dtype_to_descr(ENTRY), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (entries,)})
        for part in parts:
            file.write(part.read_bytes())


def open_index(path: str | os.PathLike[str], entries: int) -> np.ndarray:
    """Maps an index.

    Returns:
        (entries,) of `ENTRY`, read-only.

    Raises:
        ValueError: if the file is missing, damaged or of another length.
    """
    try:
        # An empty file cannot be mapped.
        index = np.load(path, mmap_mode="r" if entries else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is missing or damaged: {error}") from error
    if index.dtype != ENTRY or index.shape != (entries,):
        raise ValueError(
            f"{path} is not the index of this manifest: expected {entries} entries of "
            f"{ENTRY.itemsize} bytes. Received: shape {index.shape} of type {index.dtype}"
        )
    return index
