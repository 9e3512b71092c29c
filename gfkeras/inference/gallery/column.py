"""Growing columns of a gallery, and the storage formats of embeddings."""

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

STORAGES: dict[str, npt.DTypeLike] = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
# Number of rows decoded in one step. They fit into the processor's cache.
_CHUNK = 512


class Column:
    """A column in two parts: the rows of a file, then the rows that were added since.

    Appending does not copy the first part.
    """

    def __init__(self, first: npt.NDArray[Any]):
        self._first = first
        self._room = np.empty((0, *first.shape[1:]), first.dtype)
        self._length = len(first)

    def __len__(self) -> int:
        return self._length

    @property
    def width(self) -> int:
        """The number of values in a row of a two-dimensional column."""
        return int(self._first.shape[1])

    @property
    def parts(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The two parts, whose rows are in order."""
        return self._first, self._room[: self._length - len(self._first)]

    def take(self, rows: Rows) -> npt.NDArray[Any]:
        """Returns copies of rows."""
        first, later = self.parts
        beyond = rows >= len(first)
        if not beyond.any():
            return first[rows]
        found = np.empty((len(rows), *first.shape[1:]), first.dtype)
        found[~beyond] = first[rows[~beyond]]
        found[beyond] = later[rows[beyond] - len(first)]
        return found

    def put(self, rows: Rows, values: npt.NDArray[Any]) -> None:
        """Replaces existing rows."""
        beyond = rows >= len(self._first)
        if not beyond.all():
            self._first[rows[~beyond]] = values[~beyond]
        self._room[rows[beyond] - len(self._first)] = values[beyond]

    def extend(self, values: npt.NDArray[Any]) -> None:
        """Appends rows."""
        start = self._length - len(self._first)
        stop = start + len(values)
        if stop > len(self._room):
            # The capacity grows by half. Rows that are added one by one are then copied only a few
            # times each.
            room = np.empty((max(stop, start * 3 // 2), *self._first.shape[1:]), self._first.dtype)
            room[:start] = self._room[:start]
            self._room = room
        self._room[start:stop] = values
        self._length += len(values)

    def truncate(self, length: int) -> None:
        """Keeps the first `length` rows."""
        self._length = length
        self._first = self._first[:length]


def joined_names(names: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Returns the columns "name_bytes", all names in UTF-8, and "name_ends", their end offsets."""
    encoded = [name.encode("utf-8") for name in names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    return {
        "name_bytes": np.frombuffer(b"".join(encoded), np.uint8),
        "name_ends": ends.reshape(len(names)),
    }


def split_names(columns: dict[str, npt.NDArray[Any]]) -> list[str]:
    """Removes the two columns of `joined_names` from `columns` and returns the names.

    Raises ValueError if the offsets do not fit the bytes or a name occurs twice.
    """
    content = columns.pop("name_bytes").tobytes()
    ends = columns.pop("name_ends").tolist()
    starts = [0, *ends]
    if ends != sorted(ends) or starts[-1] != len(content):
        raise ValueError("the offsets of the names are wrong")
    names = [content[start:end].decode("utf-8") for start, end in zip(starts, ends, strict=False)]
    if len(set(names)) != len(names):
        raise ValueError("a name occurs twice")
    return names


def encode(rows: npt.NDArray[np.float32], storage: str) -> npt.NDArray[Any]:
    """Converts directions, (N, D), to a storage format.

    For int8, each row is scaled to a largest absolute value of 127 and rounded. It takes D bytes,
    for example 128 for FaceNet's 128 dimensions. The length of such a row has no meaning.
    """
    if storage == "int8":
        largest = np.abs(rows).max(axis=1, keepdims=True)
        return np.rint(rows * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)
    return rows.astype(STORAGES[storage], copy=False)


def decode(
    kept: npt.NDArray[Any], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Converts stored rows, (N, D), to float32 rows of length 1. A row of zeros stays zero."""
    if out is None:
        out = np.empty(kept.shape, np.float32)
    if kept.dtype == np.float32:
        # The rows had length 1 when they were stored. A second division would change their bits.
        out[...] = kept
        return out
    for start in range(0, len(kept), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = out[part]
        rows[...] = kept[part]
        # The same as `unit`, but without its temporary arrays, which takes half the time.
        scale = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        np.divide(1, scale, out=scale, where=scale > 0)
        rows *= scale[:, None]
    return out
