"""Interface of the index that keeps a gallery's templates."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.inference.gallery.templates import Templates


class Block(Protocol):
    """A part of an index that is searched at once."""

    def __len__(self) -> int: ...

    def nearest(
        self, probes: npt.NDArray[np.float32], count: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(P, count) cosines of the nearest rows, good to 1e-5, largest first, and row numbers.

        Probes are (P, D) of length 1; `count` is at most the block's length.
        """

    def above(
        self, probes: npt.NDArray[np.float32], least: npt.NDArray[np.float32]
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Every row whose cosine with a probe is at least its `least`, (P,), maybe others.

        Yields (C,) positions of probes, (C,) row numbers and (C,) cosines, good to 1e-5, of some
        candidates, any number of times.
        """

    def embedding(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(R, D) embeddings of rows, exactly as they are kept."""

    def group_feature(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """(R, G) group features of rows, or None without groups."""

    def sketches(self, projection: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """All group features times a projection (G, S); None where that would be dear."""

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The people of rows."""

    def photos(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """How many photos each template is the mean of."""


class FaceIndex(Protocol):
    """Templates by name. Rows have no order that matters.

    `widths` are (D, G), G being None without groups; None while it is empty.
    """

    @property
    def widths(self) -> tuple[int, int | None] | None: ...

    def __len__(self) -> int: ...

    def names(self) -> list[str]:
        """Everybody's name, in any order."""

    def known(self, names: Sequence[str]) -> set[str]:
        """Which of these names are in it."""

    def get(self, names: Sequence[str]) -> Templates:
        """The templates of people who are in it, in the order asked for."""

    def put(self, templates: Templates) -> None:
        """Adds people, replacing those who are there; all or none of them."""

    def remove(self, names: Sequence[str]) -> None:
        """Removes people who are in it; all or none of them."""

    def blocks(self) -> Iterator[Block]:
        """The parts that together hold every template once."""

    def flush(self) -> None:
        """Brings what was put into its final form, where that is not done at once."""

    def close(self) -> None:
        """Frees what other processes may wait for."""
