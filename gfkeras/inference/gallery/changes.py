"""Changes of a gallery since its file was read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gfkeras.inference.gallery.row_index import RowIndex
from gfkeras.inference.gallery.templates import Templates, merge


class Changes:
    """What was done to a gallery since its file was read, to be done again to a newer file.

    Whoever others have added or removed meanwhile stays added or removed. For the people who
    changed here:

    - New people are added. Where others have added somebody of that name meanwhile, the template
      becomes the mean over the photos of both.
    - Further photos of somebody are averaged in. They are dropped where others have removed the
      person meanwhile: who was removed does not come back by photos from before.
    - People removed here are removed, and so are photos that others have added to them meanwhile.
    """

    def __init__(self) -> None:
        # Who was not in the file; who was, and has been removed; who was, was removed and came
        # again; and further photos of those who were and are.
        self._new: set[str] = set()
        self._removed: set[str] = set()
        self._replaced: set[str] = set()
        self._photos: list[Templates] = []

    def add(self, names: Collection[str]) -> None:
        """People who are not in the gallery."""
        for name in names:
            if name in self._removed:
                self._removed.discard(name)
                self._replaced.add(name)
            else:
                self._new.add(name)

    def update(self, photos: Templates) -> None:
        """Further photos of people who are in the gallery."""
        rows = [row for row, name in enumerate(photos.names) if not self._is_own(name)]
        if rows:
            self._photos.append(photos.take(rows))

    def remove(self, names: Collection[str]) -> None:
        """People who are in the gallery."""
        for name in names:
            if name in self._new:
                self._new.discard(name)
            else:
                self._replaced.discard(name)
                self._removed.add(name)

    def apply(self, mine: RowIndex, theirs: RowIndex) -> None:
        """Does to `theirs` what was done since to `mine`."""
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
        """Whether all of a person's photos came here, so that the index has them."""
        return name in self._new or name in self._replaced

    @staticmethod
    def _merge(theirs: RowIndex, photos: Templates) -> None:
        names: Sequence[str] = photos.names
        theirs.put(merge(theirs.get(names), photos))
