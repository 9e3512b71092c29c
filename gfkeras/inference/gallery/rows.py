"""The rows of an index in process: those of a mapped file, and those in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.storage import STORAGES, decode, encode
from gfkeras.inference.gallery.templates import Templates


class Rows:
    """Templates in columns that grow, without holes.

    A column may lie in a mapped file that may only be read. It is copied to memory by the first
    change, not before: a gallery that is only searched stays in the file's pages, which processes
    share.

    Args:
        storage: of embeddings and group features.

    Attributes:
        names: person of each row.
        row_of: row of each person.
        embedding: (N, D) as kept.
        group_feature: (N, G) as kept, or None.
        photos: (N,) int32.
        length, group_length: (N,) float32, see `Templates`.
    """

    def __init__(self, storage: str):
        self.storage = storage
        self.names: list[str] = []
        self.row_of: dict[str, int] = {}
        self.widths: tuple[int, int | None] | None = None
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @classmethod
    def mapped(cls, storage: str, names: list[str], columns: dict[str, npt.NDArray[Any]]) -> Rows:
        """Rows whose columns lie in a file."""
        rows = cls(storage)
        rows.names = names
        rows.row_of = {name: row for row, name in enumerate(names)}
        rows._columns = columns
        if columns:
            group = columns.get("group_feature")
            rows.widths = columns["embedding"].shape[1], None if group is None else group.shape[1]
        return rows

    def __len__(self) -> int:
        return len(self.names)

    @property
    def embedding(self) -> npt.NDArray[Any]:
        return self._columns["embedding"][: len(self)]

    @property
    def group_feature(self) -> npt.NDArray[Any] | None:
        group = self._columns.get("group_feature")
        return None if group is None else group[: len(self)]

    @property
    def photos(self) -> npt.NDArray[np.int32]:
        return self._columns["photos"][: len(self)]

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every column, N rows of each."""
        return {name: column[: len(self)] for name, column in self._columns.items()}

    def templates(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Templates:
        """The templates of rows."""
        chosen = np.asarray(rows, np.int64)
        kept = self.columns()
        group = kept.get("group_feature")
        return Templates(
            [self.names[row] for row in chosen.tolist()],
            decode(kept["embedding"][chosen]),
            None if group is None else decode(group[chosen]),
            np.array(kept["photos"][chosen]),
            np.array(kept["length"][chosen]),
            np.array(kept["group_length"][chosen]),
        )

    def put(self, templates: Templates) -> None:
        """Adds people or replaces them."""
        new = [name for name in templates.names if name not in self.row_of]
        self._make_room(len(self) + len(new), templates)
        for name in new:
            self.row_of[name] = len(self.names)
            self.names.append(name)
        rows = [self.row_of[name] for name in templates.names]
        for name, values in self._encoded(templates).items():
            self._columns[name][rows] = values

    def remove(self, names: Sequence[str]) -> None:
        """Removes people; the last rows take the places of theirs."""
        self._make_writable()
        for name in names:
            row, last = self.row_of.pop(name), len(self.names) - 1
            moved = self.names.pop()
            if row != last:
                self.names[row] = moved
                self.row_of[moved] = row
                for column in self._columns.values():
                    column[row] = column[last]
        if not self.names:
            # The next to come may have other widths.
            self._columns, self.widths = {}, None

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

    def _make_room(self, count: int, templates: Templates) -> None:
        if self.widths is None:
            width, group_width = self.widths = templates.widths
            kind = np.dtype(STORAGES[self.storage])
            self._columns = {
                "embedding": np.empty((0, width), kind),
                "photos": np.empty(0, np.int32),
                "length": np.empty(0, np.float32),
                "group_length": np.empty(0, np.float32),
            }
            if group_width is not None:
                self._columns["group_feature"] = np.empty((0, group_width), kind)
        for name, column in self._columns.items():
            if len(column) < count:
                # Half as much again: adding one person after another copies each a few times.
                room = np.empty((max(count, len(self) * 3 // 2), *column.shape[1:]), column.dtype)
                room[: len(self)] = column[: len(self)]
                self._columns[name] = room
        self._make_writable()

    def _make_writable(self) -> None:
        for name, column in self._columns.items():
            if not column.flags.writeable:
                self._columns[name] = np.array(column)
