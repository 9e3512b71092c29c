"""An index of templates in memory, and its changes since its file was read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
from gfkeras.inference.gallery.templates import Templates, merge

# Number of rows in a block. Larger blocks are not faster, and each one is decoded into memory.
BLOCK = 65_536


class RowIndex:
    """Templates in growing columns without holes.

    The columns are "embedding" (N, D) and, with groups, "group_feature" (N, G), in the storage
    format, "photos" (N,) int32, "length" and "group_length" (N,) float32 (see `Templates`). Without
    rows, there are no columns.
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

    Raises ValueError if the file is damaged, is not a gallery or has another `storage`.
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


class Changes:
    """The changes of a gallery since its file was read, to be repeated on a newer file.

    Changes that other processes saved in the meantime stay. The changes of this process are
    repeated by these rules:

    - New people are added. If another process added a person with the same name, the template
      becomes the mean over all photos.
    - Further photos of a person are averaged in. If another process removed the person, the photos
      are dropped, because older photos must not bring back a removed person.
    - People who were removed here are removed, with all photos that other processes added to them.
    """

    def __init__(self) -> None:
        # People who are not in the file.
        self._new: set[str] = set()
        # People in the file who were removed here.
        self._removed: set[str] = set()
        # People in the file who were removed here and then added again.
        self._replaced: set[str] = set()
        # Further photos of people who are in the file and were not removed.
        self._photos: list[Templates] = []

    def add(self, names: Collection[str]) -> None:
        """Records people who are added to the gallery."""
        for name in names:
            if name in self._removed:
                self._removed.discard(name)
                self._replaced.add(name)
            else:
                self._new.add(name)

    def update(self, photos: Templates) -> None:
        """Records further photos of people who are in the gallery."""
        rows = [row for row, name in enumerate(photos.names) if not self._is_own(name)]
        if rows:
            self._photos.append(photos.take(rows))

    def remove(self, names: Collection[str]) -> None:
        """Records people who are removed from the gallery."""
        for name in names:
            if name in self._new:
                self._new.discard(name)
            else:
                self._replaced.discard(name)
                self._removed.add(name)

    def apply(self, mine: RowIndex, theirs: RowIndex) -> None:
        """Repeats the changes of `mine` on `theirs`, the index of the newer file."""
        gone = theirs.known([*self._removed, *self._replaced])
        if gone:
            theirs.remove(sorted(gone))
        for photos in self._photos:
            there = theirs.known(photos.names)
            rows = [row for row, name in enumerate(photos.names) if name in there]
            if rows:
                self._merge(theirs, photos.take(rows))
        own = sorted(self._new | self._replaced)
        if own:
            templates = mine.get(own)
            there = theirs.known(own)
            both = [row for row, name in enumerate(own) if name in there]
            others = [row for row, name in enumerate(own) if name not in there]
            if both:
                self._merge(theirs, templates.take(both))
            if others:
                theirs.put(templates.take(others))

    def _is_own(self, name: str) -> bool:
        """Returns whether all photos of a person were added here, so their template is complete."""
        return name in self._new or name in self._replaced

    @staticmethod
    def _merge(theirs: RowIndex, photos: Templates) -> None:
        names: Sequence[str] = photos.names
        theirs.put(merge(theirs.get(names), photos))
