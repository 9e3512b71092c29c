"""An index of templates in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import one_of
from gfkeras.inference.gallery.column import (
    STORAGES,
    Column,
    decode,
    encode,
    joined_names,
    split_names,
)
from gfkeras.inference.gallery.gallery_file import read_gallery_file, write_gallery_file
from gfkeras.inference.gallery.row_block import RowBlock
from gfkeras.inference.gallery.templates import Templates

# Number of rows in a block. Larger blocks are not faster, and each one is decoded into memory.
BLOCK = 65_536


class RowIndex:
    """Templates in growing columns without holes.

    Attributes:
        people: person of each row.
        row_of: row of each person.
        columns: columns by name: "embedding" (N, D) and, with groups, "group_feature" (N, G), in
            the storage format, "photos" (N,) int32, "length" and "group_length" (N,) float32 (see
            `Templates`). Without rows, there are no columns.
    """

    def __init__(self, storage: str):
        self.storage = storage
        self.people: list[str] = []
        self.row_of: dict[str, int] = {}
        self.columns: dict[str, Column] = {}

    @classmethod
    def of_file(cls, storage: str, columns: dict[str, npt.NDArray[Any]]) -> RowIndex:
        """Returns the index of a file's columns.

        Raises ValueError or KeyError if the columns are not those of an index.
        """
        rows, columns = cls(storage), dict(columns)
        rows.people = split_names(columns)
        rows.row_of = {name: row for row, name in enumerate(rows.people)}
        if not rows.people:
            return rows
        kept, number = np.dtype(STORAGES[storage]), np.dtype("<f4")
        expected = {
            "embedding": (kept, 2), "photos": (np.dtype("<i4"), 1), "length": (number, 1),
            "group_length": (number, 1),
        }  # fmt: skip
        if "group_feature" in columns:
            expected["group_feature"] = (kept, 2)
        found = {name: (column.dtype, column.ndim) for name, column in columns.items()}
        if found != expected or {len(column) for column in columns.values()} != {len(rows)}:
            raise ValueError(f"the columns are {found} for {len(rows)} names")
        rows.columns = {name: Column(column) for name, column in columns.items()}
        return rows

    def __len__(self) -> int:
        return len(self.people)

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """The widths (D, G), with G = None without groups, or None without rows."""
        if not self.columns:
            return None
        group = self.columns.get("group_feature")
        return self.columns["embedding"].width, None if group is None else group.width

    def names(self) -> list[str]:
        return list(self.row_of)

    def known(self, names: Sequence[str]) -> set[str]:
        return self.row_of.keys() & set(names)

    def get(self, names: Sequence[str]) -> Templates:
        chosen = np.array([self.row_of[name] for name in names], np.int64)
        kept = {name: column.take(chosen) for name, column in self.columns.items()}
        group = decode(kept["group_feature"]) if "group_feature" in kept else None
        others = [kept[name] for name in ("photos", "length", "group_length")]
        return Templates(list(names), decode(kept["embedding"]), group, *others)

    def put(self, templates: Templates) -> None:
        """Adds people or replaces them."""
        values = self._encoded(templates)
        known = np.array([name in self.row_of for name in templates.names], bool)
        rows = [self.row_of[name] for name in templates.names if name in self.row_of]
        columns = self.columns or {
            # A view instead of a new array would keep all of the first templates in memory.
            name: Column(np.empty((0, *column.shape[1:]), column.dtype))
            for name, column in values.items()
        }
        for name, column in columns.items():
            if rows:
                column.put(np.array(rows, np.int64), values[name][known])
            column.extend(values[name][~known])
        self.columns = columns
        for name in templates.names:
            if name not in self.row_of:
                self.row_of[name] = len(self.people)
                self.people.append(name)

    def remove(self, names: Sequence[str]) -> None:
        """Removes people. The last rows move to the freed places."""
        gone = {self.row_of[name] for name in names}
        count = len(self) - len(gone)
        holes = sorted(row for row in gone if row < count)
        moved = [row for row in range(count, len(self)) if row not in gone]
        for column in self.columns.values():
            if holes:
                column.put(np.array(holes), column.take(np.array(moved)))
            column.truncate(count)
        for name in names:
            del self.row_of[name]
        for row, hole in zip(moved, holes, strict=True):
            self.people[hole] = self.people[row]
            self.row_of[self.people[row]] = hole
        del self.people[count:]
        if not self.people:
            # The next templates can have other widths.
            self.columns = {}

    def blocks(self) -> Iterator[RowBlock]:
        columns, offset = self.columns, 0
        for part, kept in enumerate(columns["embedding"].parts if columns else ()):
            group = columns["group_feature"].parts[part] if "group_feature" in columns else None
            for start in range(0, len(kept), BLOCK):
                stop = min(start + BLOCK, len(kept))
                rows = slice(start, stop)
                photos = columns["photos"].parts[part][rows]
                names = self.people[offset + start : offset + stop]
                yield RowBlock(names, photos, kept[rows], None if group is None else group[rows])
            offset += len(kept)

    def flush(self) -> None:
        """Does nothing. The index is in memory, and `Gallery.save` writes the file."""

    def close(self) -> None:
        """Does nothing. The file was read completely and is not open."""

    def _encoded(self, templates: Templates) -> dict[str, npt.NDArray[Any]]:
        columns = {
            "embedding": encode(templates.embedding, self.storage),
            "photos": templates.photos,
            "length": templates.length,
            "group_length": templates.group_length,
        }
        if templates.group_feature is not None:
            columns["group_feature"] = encode(templates.group_feature, self.storage)
        return columns


def read_index(path: Path, storage: str | None = None) -> tuple[RowIndex, dict[str, str], bytes]:
    """Reads index, metadata and head of a gallery's file.

    Raises:
        ValueError: if the file is damaged, is not a gallery or has another `storage`.
    """
    description, columns, head = read_gallery_file(path)
    try:
        kept = one_of("storage", description["storage"], STORAGES)
        metadata = {str(key): str(value) for key, value in description["metadata"].items()}
        index = RowIndex.of_file(kept, columns)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or not a gallery: {error!r}") from error
    if storage not in (None, kept):
        raise ValueError(f"`storage` of {path} is {kept!r}. Received: storage={storage!r}")
    return index, metadata, head


def write_index(path: Path, index: RowIndex, metadata: dict[str, str]) -> bytes:
    """Writes a gallery's file and returns its head."""
    columns: dict[str, Any] = {
        name: (column,) for name, column in joined_names(index.people).items()
    }
    columns |= {name: column.parts for name, column in index.columns.items()}
    description = {"storage": index.storage, "metadata": metadata}
    return write_gallery_file(path, description, columns)
