"""Rows of templates, in memory and in a file, and the storage of directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.column import Column
from gfkeras.inference.gallery.templates import Templates

STORAGES: dict[str, npt.DTypeLike] = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
# Rows decoded at once: they stay in the processor's cache meanwhile.
_CHUNK = 512


def encode(rows: npt.NDArray[np.float32], storage: str) -> npt.NDArray[Any]:
    """(N, D) directions as they are kept.

    An int8 code is the row scaled so that its largest number is 127, and rounded. Its length says
    nothing: only directions are kept, D bytes each, 128 for FaceNet's 128 dimensions.
    """
    if storage == "int8":
        largest = np.abs(rows).max(axis=1, keepdims=True)
        return np.rint(rows * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)
    return rows.astype(STORAGES[storage], copy=False)


def decode(
    kept: npt.NDArray[Any], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Kept rows as float32 of length 1 (0 where a row is 0).

    Args:
        kept: (N, D) in any storage.
        out: (N, D) to write to.
    """
    if out is None:
        out = np.empty(kept.shape, np.float32)
    if kept.dtype == np.float32:
        # They were of length 1 when they were kept, and stay what they were to the bit.
        out[...] = kept
        return out
    for start in range(0, len(kept), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = out[part]
        rows[...] = kept[part]
        # As `unit`, without its arrays between: half of the time.
        scale = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        np.divide(1, scale, out=scale, where=scale > 0)
        rows *= scale[:, None]
    return out


class Rows:
    """Templates in columns that grow, without holes.

    Args:
        storage: of embeddings and group features.

    Attributes:
        names: person of each row.
        row_of: row of each person.
        columns: by name: "embedding" (N, D) and "group_feature" (N, G), as kept, the latter only
            with groups; "photos" (N,) int32; "length" and "group_length" (N,) float32, see
            `Templates`. Empty while there are no rows.
    """

    def __init__(self, storage: str):
        self.storage = storage
        self.names: list[str] = []
        self.row_of: dict[str, int] = {}
        self.columns: dict[str, Column] = {}

    @classmethod
    def mapped(cls, storage: str, names: list[str], columns: dict[str, npt.NDArray[Any]]) -> Rows:
        """Rows whose columns lie in a file."""
        rows = cls(storage)
        rows.names = names
        rows.row_of = {name: row for row, name in enumerate(names)}
        rows.columns = {name: Column(column) for name, column in columns.items()}
        return rows

    def __len__(self) -> int:
        return len(self.names)

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """(D, G), G being None without groups; None while there are no rows."""
        if not self.columns:
            return None
        group = self.columns.get("group_feature")
        return self.columns["embedding"].width, None if group is None else group.width

    def templates(self, rows: Sequence[int]) -> Templates:
        """The templates of rows."""
        chosen = np.asarray(rows, np.int64)
        kept = {name: column.take(chosen) for name, column in self.columns.items()}
        group = kept.get("group_feature")
        return Templates(
            [self.names[row] for row in rows],
            decode(kept["embedding"]),
            None if group is None else decode(group),
            kept["photos"],
            kept["length"],
            kept["group_length"],
        )

    def put(self, templates: Templates) -> None:
        """Adds people or replaces them."""
        values = self._encoded(templates)
        known = np.array([name in self.row_of for name in templates.names], bool)
        rows = [self.row_of[name] for name in templates.names if name in self.row_of]
        columns = self.columns or {
            # Not a view, which would keep all of the first templates alive.
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
                self.row_of[name] = len(self.names)
                self.names.append(name)

    def remove(self, names: Sequence[str]) -> None:
        """Removes people; the last rows take the places of theirs."""
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
            self.names[hole] = self.names[row]
            self.row_of[self.names[row]] = hole
        del self.names[count:]
        if not self.names:
            # The next to come may have other widths.
            self.columns = {}

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
