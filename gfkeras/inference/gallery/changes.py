"""Changes of a gallery since its file was read."""

from collections.abc import Collection, Sequence

from gfkeras.inference.gallery.row_index import RowIndex
from gfkeras.inference.gallery.templates import Templates, merge


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
