"""First stage of `prepare`: listing the items of a source on disk, in order."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from gfkeras.data.sources import Item, Refused, Source
from gfkeras.files import replacing

CHUNK_ITEMS = 256
"""Items that are converted together. A killed run loses at most this many for each worker."""

_ITEMS = """
CREATE TABLE items (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, identity TEXT,
                    locator TEXT, landmarks TEXT, refused TEXT, kind TEXT);
"""


class Plan:
    """The list of a source's items, stored in a file to save memory."""

    def __init__(self, path: Path):
        self.path = path
        with connected(path) as database:
            (self.items,) = database.execute("SELECT COUNT(*) FROM items").fetchone()

    @property
    def chunks(self) -> int:
        """Number of chunks of items."""
        return -(-self.items // CHUNK_ITEMS)

    def chunk(self, number: int) -> list[tuple[int, Item | Refused]]:
        """Returns (number, item or refused item) of a chunk."""
        first = number * CHUNK_ITEMS
        with connected(self.path) as database:
            rows = database.execute(
                "SELECT seq, name, identity, locator, landmarks, refused, kind FROM items "
                "WHERE seq >= ? AND seq < ? ORDER BY seq",
                (first, first + CHUNK_ITEMS),
            ).fetchall()
        return [
            (seq, Refused(name, refused, kind))
            if locator is None
            else (seq, Item(name, identity, locator, _points(landmarks)))
            for seq, name, identity, locator, landmarks, refused, kind in rows
        ]

    @staticmethod
    def write(source: Source, path: Path, progress: Callable[[int], None]) -> Plan:
        """Lists the items of a source. A failed run leaves no partial file.

        `progress` is called from time to time with the number of items so far.
        """
        with replacing(path) as temporary, connected(temporary) as database:
            database.executescript(_ITEMS)
            database.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", _rows(source, progress)
            )
            database.commit()
        return Plan(path)


def _rows(source: Source, progress: Callable[[int], None]) -> Iterator[tuple[object, ...]]:
    for number, item in enumerate(source.items()):
        if number % CHUNK_ITEMS == 0:
            progress(number)
        if isinstance(item, Item):
            points = None if item.landmarks is None else json.dumps(item.landmarks)
            yield number, item.name, item.identity, item.locator, points, None, None
        else:
            yield number, item.name, None, None, None, item.reason, item.kind


def _points(landmarks: str | None) -> tuple[tuple[float, float], ...] | None:
    return None if landmarks is None else tuple(map(tuple, json.loads(landmarks)))


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a database of the work folder, and closes it at the end.

    The files are temporary, and a killed run writes them again, so they need no journal. Data that
    exceed a small cache are sorted on disk, next to the file. SQLite's errors are raised as an
    OSError. The most likely cause is a full disk.
    """
    database = None
    try:
        database = sqlite3.connect(path)
        database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; "
            "PRAGMA cache_size = -4096; PRAGMA locking_mode = NORMAL;"
        )
        yield database
    except sqlite3.Error as error:
        raise OSError(f"{path} cannot be written or read: {error}; is the disk full?") from error
    finally:
        if database is not None:
            database.close()
