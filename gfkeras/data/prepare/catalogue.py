"""Third stage of `prepare`: choosing, labelling and ordering the records.

Duplicates, people with too few images and held-out people are known only at this stage. The work is
done in a database on disk, so memory use does not grow with the number of images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gfkeras.data.prepare.conversion import Skipped, outcomes
from gfkeras.data.prepare.options import PrepareOptions
from gfkeras.data.prepare.plan import connected
from gfkeras.data.records import NO_LABEL
from gfkeras.errors import wrong
from gfkeras.files import replacing

TRAIN, HELDOUT = "train", "heldout"

_TABLES = """
CREATE TABLE images (id INTEGER PRIMARY KEY, name TEXT, identity TEXT, chunk INTEGER,
                     offset INTEGER, length INTEGER, digest BLOB, fitted INTEGER,
                     place INTEGER, kind TEXT, reason TEXT);
CREATE TABLE skipped (item INTEGER, name TEXT, kind TEXT, reason TEXT);
CREATE TABLE identities (id INTEGER PRIMARY KEY, name TEXT UNIQUE, split TEXT, label INTEGER);
CREATE TABLE records (split TEXT, position INTEGER, image INTEGER, label INTEGER,
                      PRIMARY KEY (split, position)) WITHOUT ROWID;
"""
_SKIPPED = """
SELECT item AS place, name, kind, reason FROM skipped UNION ALL
SELECT place, name, kind, reason FROM images WHERE reason IS NOT NULL
"""


class Catalogue:
    """The records to write, stored in a database file."""

    def __init__(self, path: Path):
        self.path = path

    @staticmethod
    def write(
        chunks: list[Path], options: PrepareOptions, keep_duplicates: bool, path: Path
    ) -> Catalogue:
        """Chooses and orders the records of all chunks. A failed run leaves no partial file."""
        with replacing(path) as temporary, connected(temporary) as database:
            database.executescript(_TABLES)
            _collect(database, chunks)
            if not keep_duplicates:
                _drop_duplicates(database)
            _drop_by_count(database, options)
            _label(database, options)
            _order(database, options)
            database.commit()
        return Catalogue(path)

    def _rows(self, query: str, *arguments: object) -> Iterator[tuple[Any, ...]]:
        with connected(self.path) as database:
            yield from database.execute(query, arguments)

    def splits(self) -> dict[str, int]:
        """Returns the number of records per split: "train", and "heldout" if there are any."""
        counted = dict(self._rows("SELECT split, COUNT(*) FROM records GROUP BY split"))
        return {name: counted[name] for name in (TRAIN, HELDOUT) if name in counted}

    def label_map(self, split: str) -> dict[str, int]:
        """Returns {person: label} of a split, by label."""
        query = "SELECT name, label FROM identities WHERE split = ? ORDER BY label"
        return dict(self._rows(query, split))

    def records(self, split: str, first: int, count: int) -> Iterator[tuple[Any, ...]]:
        """Returns (label, identity, name, chunk, offset, length, digest) of records, in order."""
        return self._rows(
            "SELECT r.label, i.identity, i.name, i.chunk, i.offset, i.length, hex(i.digest) "
            "FROM records r JOIN images i ON i.id = r.image "
            "WHERE r.split = ? AND r.position >= ? AND r.position < ? ORDER BY r.position",
            split, first, first + count,
        )  # fmt: skip

    def skipped(self) -> Iterator[tuple[Any, ...]]:
        """Returns (name, kind, reason) of each item without a record, in the source's order."""
        return self._rows(f"SELECT name, kind, reason FROM ({_SKIPPED}) ORDER BY place, name")

    def skipped_kinds(self) -> dict[str, int]:
        """Returns the number of skipped items of each kind."""
        query = f"SELECT kind, COUNT(*) FROM ({_SKIPPED}) GROUP BY kind ORDER BY kind"
        return dict(self._rows(query))

    def fitted(self) -> int:
        """Returns the number of records whose images were scaled to fit."""
        query = "SELECT COUNT(*) FROM images WHERE reason IS NULL AND fitted"
        ((count,),) = self._rows(query)
        return int(count)

    def has(self, database: sqlite3.Connection, name: str) -> bool:
        """Whether a record with this name is kept. `database` is `connected(self.path)`."""
        query = "SELECT 1 FROM images WHERE name = ? AND reason IS NULL"
        return database.execute(query, (name,)).fetchone() is not None


def _collect(database: sqlite3.Connection, chunks: list[Path]) -> None:
    """Inserts the contents of all chunks, numbered in the source's order."""
    images = 0
    for number, path in enumerate(chunks):
        kept: list[tuple[object, ...]] = []
        left_out: list[tuple[object, ...]] = []
        for outcome in outcomes(path):
            if isinstance(outcome, Skipped):
                left_out.append(dataclasses.astuple(outcome))
            else:
                place = (number, outcome.offset, outcome.length, bytes.fromhex(outcome.digest))
                row = (images + len(kept), outcome.name, outcome.identity, *place)
                kept.append((*row, outcome.fitted, outcome.item))
        database.executemany("INSERT INTO images VALUES (?,?,?,?,?,?,?,?,?,NULL,NULL)", kept)
        database.executemany("INSERT INTO skipped VALUES (?, ?, ?, ?)", left_out)
        images += len(kept)


def _shuffle_key(options: PrepareOptions) -> Callable[[int], int]:
    """Returns a function from the number of an image to its sort key."""
    if not options.shuffle:
        return lambda number: number
    seed = options.seed.to_bytes(8, "little")

    def key(number: int) -> int:
        # The result of Python's random generators can change between versions, a hash cannot.
        mixed = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=8, key=seed).digest()
        return int.from_bytes(mixed, "little", signed=True)

    return key


def _drop_duplicates(database: sqlite3.Connection) -> None:
    """Keeps the first of equal images. An image under two names is labelled wrongly in one."""
    # Most images occur once, so only the repeated digests are joined with the images.
    database.executescript(
        """
        CREATE INDEX by_digest ON images (digest, id);
        CREATE TABLE repeated AS
            SELECT digest, MIN(id) AS first FROM images GROUP BY digest HAVING COUNT(*) > 1;
        CREATE UNIQUE INDEX repeated_digest ON repeated (digest);
        UPDATE images SET kind = 'duplicate', reason = (
            SELECT 'the same image as ' || f.name || CASE
                WHEN f.identity IS images.identity THEN '' ELSE ', under another identity' END
            FROM repeated r JOIN images f ON f.id = r.first WHERE r.digest = images.digest)
        WHERE EXISTS (
            SELECT 1 FROM repeated r WHERE r.digest = images.digest AND r.first < images.id);
        DROP TABLE repeated;
        DROP INDEX by_digest;
        """
    )


def _drop_by_count(database: sqlite3.Connection, options: PrepareOptions) -> None:
    database.execute("CREATE INDEX by_identity ON images (identity, id)")
    if options.min_images > 1:
        database.execute(
            """
            UPDATE images SET kind = 'min-images',
                reason = 'its identity has fewer than ' || :least || ' usable images'
            WHERE reason IS NULL AND identity IS NOT NULL AND identity IN (
                SELECT identity FROM images WHERE reason IS NULL
                GROUP BY identity HAVING COUNT(*) < :least)
            """,
            {"least": options.min_images},
        )
    if options.max_images is not None:
        # Number the images of each identity. The index returns the rows in that order.
        database.execute(
            """
            UPDATE images SET kind = 'max-images',
                reason = 'its identity has more than ' || :most || ' images'
            WHERE id IN (
                SELECT id FROM (
                    SELECT id, ROW_NUMBER() OVER (PARTITION BY identity ORDER BY id) AS place
                    FROM images WHERE reason IS NULL AND identity IS NOT NULL)
                WHERE place > :most)
            """,
            {"most": options.max_images},
        )


def _label(database: sqlite3.Connection, options: PrepareOptions) -> None:
    """Labels people in the order in which the source names them, and holds out the last ones."""
    # Image numbers follow the order of the source, so MIN(id) is the first image of a person.
    database.execute(
        "INSERT INTO identities (name) SELECT identity FROM images "
        "WHERE reason IS NULL AND identity IS NOT NULL GROUP BY identity ORDER BY MIN(id)"
    )
    (people,) = database.execute("SELECT COUNT(*) FROM identities").fetchone()
    if options.holdout and not options.holdout < people:
        refused = database.execute(
            f"SELECT name, reason FROM ({_SKIPPED}) ORDER BY place LIMIT 1"
        ).fetchone()
        first = f". The first unusable image: {refused[0]}: {refused[1]}" if refused else ""
        received = f"holdout={options.holdout}{first}"
        raise wrong("holdout", f"be fewer than the {people} people with usable images", received)
    train = people - options.holdout
    database.execute(
        "UPDATE identities SET split = CASE WHEN id <= :train THEN 'train' ELSE 'heldout' END, "
        "label = CASE WHEN id <= :train THEN id - 1 ELSE id - 1 - :train END",
        {"train": train},
    )


def _order(database: sqlite3.Connection, options: PrepareOptions) -> None:
    # SQLite sorts by this key on disk, so the order does not need memory.
    database.create_function("shuffled", 1, _shuffle_key(options), deterministic=True)
    rows = database.execute(
        f"SELECT i.id, COALESCE(p.split, '{TRAIN}'), COALESCE(p.label, {NO_LABEL}) "
        "FROM images i LEFT JOIN identities p ON p.name = i.identity "
        "WHERE i.reason IS NULL ORDER BY shuffled(i.id), i.id"
    )

    position = {TRAIN: itertools.count(), HELDOUT: itertools.count()}
    database.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?)",
        ((split, next(position[split]), image, label) for image, split, label in rows),
    )
