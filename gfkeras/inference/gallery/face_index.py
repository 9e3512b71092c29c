"""Interface of the index that stores a gallery's templates."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.templates import Templates


class Block(Protocol):
    """A part of an index that is searched in one step."""

    def __len__(self) -> int: ...

    def nearest(
        self, probes: npt.NDArray[np.float32], count: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns (P, count) cosines of the nearest rows, the largest first, and row numbers.

        Cosines are exact to 1e-5. Probes are (P, D) of length 1. `count` is at most the block's
        length.
        """

    def above(
        self, probes: npt.NDArray[np.float32], least: npt.NDArray[np.float32]
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yields all rows with a cosine of at least `least`, (P,), to a probe, and perhaps others.

        Each item has (C,) positions of probes, (C,) row numbers and (C,) cosines, exact to 1e-5.
        """

    def embedding(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns (R, D) embeddings of rows, exactly as stored."""

    def group_feature(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """Returns (R, G) group features of rows, or None without groups."""

    def sketches(self, projection: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Returns all group features times a projection, (G, S), or None if that is too slow."""

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Returns the names of rows."""

    def photos(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Returns the number of photos of which each template is the mean."""


class FaceIndex(Protocol):
    """Templates by name, in no particular order.

    `widths` are (D, G) with G = None without groups. They are None if the index is empty.
    """

    @property
    def widths(self) -> tuple[int, int | None] | None: ...

    def __len__(self) -> int: ...

    def names(self) -> list[str]:
        """Returns all names, in any order."""

    def known(self, names: Sequence[str]) -> set[str]:
        """Returns the names that are in the index."""

    def get(self, names: Sequence[str]) -> Templates:
        """Returns the templates of people who are in the index, in the order of `names`."""

    def put(self, templates: Templates) -> None:
        """Adds people and replaces existing ones. After an error, nobody has changed."""

    def remove(self, names: Sequence[str]) -> None:
        """Removes people who are in the index. After an error, nobody is removed."""

    def blocks(self) -> Iterator[Block]:
        """Yields blocks that together contain every template once."""

    def flush(self) -> None:
        """Moves changes to their final storage, if the index delays that."""

    def close(self) -> None:
        """Releases resources that other processes may need."""
