"""Second stage: images of one chunk of items, converted into JPEGs of the records' size.

A chunk file holds the JPEGs one after another, then a line of JSON for each outcome, then the
number of bytes of the JPEGs. It appears under its name when it is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from gfkeras.files import replacing

_END = struct.Struct("<Q")
DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Converted:
    """A JPEG in a chunk file.

    Attributes:
        item: the number of the item it comes from.
        name: of the image; the item's, with "#2" and so on for further faces of a photo.
        identity: the person, or None.
        offset, length: of the JPEG in the chunk file.
        digest: BLAKE2b of the JPEG, hexadecimal.
        fitted: whether it had another size and was scaled to fit, unaligned.
    """

    item: int
    name: str
    identity: str | None
    offset: int
    length: int
    digest: str
    fitted: bool


@dataclasses.dataclass(frozen=True)
class Skipped:
    """An item that gave no JPEG.

    Attributes:
        item: its number.
        name: its name.
        kind: a word for counting, such as "truncated".
        reason: in words.
    """

    item: int
    name: str
    kind: str
    reason: str


def digest(jpeg: bytes) -> str:
    """What tells equal JPEGs from others."""
    return hashlib.blake2b(jpeg, digest_size=DIGEST_BYTES).hexdigest()


class ChunkWriter:
    """Writes one chunk file; use it in a `with` block.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._replacing = replacing(path)
        self._outcomes: list[str] = []
        self._length = 0

    def __enter__(self) -> ChunkWriter:
        self._file = self._replacing.__enter__().open("wb")
        return self

    def add(self, item: int, name: str, identity: str | None, jpeg: bytes, fitted: bool) -> None:
        """Adds a JPEG."""
        self._file.write(jpeg)
        row = [item, name, identity, self._length, len(jpeg), digest(jpeg), fitted]
        self._outcomes.append(json.dumps(row))
        self._length += len(jpeg)

    def skip(self, item: int, name: str, kind: str, reason: str) -> None:
        """Notes an item that gives none."""
        self._outcomes.append(json.dumps([item, name, kind, reason]))

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._file.write("".join(f"{line}\n" for line in self._outcomes).encode())
                self._file.write(_END.pack(self._length))
        finally:
            self._file.close()
            self._replacing.__exit__(*error)  # type: ignore[arg-type]


def outcomes(path: Path) -> Iterator[Converted | Skipped]:
    """What became of each item of a chunk, in order.

    Raises:
        ValueError: if the file is not a whole chunk.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        try:
            file.seek(size - _END.size)
            (images,) = _END.unpack(file.read())
            file.seek(images)
            lines = file.read(size - _END.size - images).splitlines()
            rows = [json.loads(line) for line in lines]
        except (OSError, struct.error, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    for row in rows:
        yield Converted(*row) if len(row) == len(dataclasses.fields(Converted)) else Skipped(*row)
