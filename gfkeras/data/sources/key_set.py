"""A set of whole numbers that lie close together, at about a bit each."""

from __future__ import annotations


class KeySet:
    """Remembers which keys were seen.

    Millions of record keys fit into a megabyte, where a Python set would take hundreds: the
    keys of a data set are nearly always 0…N, in whatever order.
    """

    _PAGE_BITS = 10

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def add(self, key: int) -> bool:
        """Adds `key`; False where it was there already."""
        number, bit = key >> self._PAGE_BITS, 1 << (key & ((1 << self._PAGE_BITS) - 1))
        page = self._pages.get(number, 0)
        self._pages[number] = page | bit
        return not page & bit
