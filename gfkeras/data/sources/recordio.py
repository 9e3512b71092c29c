"""MXNet's RecordIO container: magic, flag and length, data, padding to four bytes.

A record whose data holds the magic number at a multiple of four bytes is cut there: the number
is left out, and each piece becomes a part with a frame of its own, flagged 1 (first), 2 (middle)
or 3 (last). A whole record has flag 0. https://github.com/dmlc/dmlc-core (src/recordio.cc)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from gfkeras.data.file_bytes import FileBytes
from gfkeras.files import PathLike

MAGIC = struct.pack("<I", 0xCED7230A)
# The length has 29 bits and the format's writer refuses records that are longer.
MAX_RECORD = (1 << 29) - 1
_FRAME = struct.Struct("<4sI")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
# Frame, image header and a few labels of a usual record arrive in one read.
_HEAD = 64


class RecordIOFile:
    """The records of one `.rec` file by their offsets; no list of records is kept.

    Every length is compared with the file's size before it is used. An unreadable file, and from
    every method a damaged one, raises ValueError, naming file and offset.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)
        self._bytes = FileBytes(path)
        self.size = self._bytes.size

    def read(self, offset: int) -> bytes:
        """The data of the record at `offset`, parts joined by the magic number."""
        return MAGIC.join(self._bytes.read(*part) for part in self._parts(offset))

    def head(self, offset: int, count: int) -> tuple[bytes, int]:
        """The first `count` bytes of a record's data, or all it has, and how long the data is.

        Reads little more of the file than that, so that a pass over all heads is quick.
        """
        frame = self._bytes.upto(offset, _HEAD) if self._holds(offset) else b""
        flag, length = self._frame(offset, frame)
        if flag == _WHOLE:
            wanted = min(count, length)
            data = frame[_FRAME.size : _FRAME.size + wanted]
            if len(data) < wanted:
                data = self._bytes.read(offset + _FRAME.size, wanted)
            return data, length
        joined, total = bytearray(), 0
        for start, length in self._parts(offset):
            joint = MAGIC if start != offset + _FRAME.size else b""
            total += len(joint) + length
            if len(joined) < count:
                joined += joint + self._bytes.read(start, min(length, count))
        return bytes(joined[:count]), total

    def offsets(self) -> Iterator[int]:
        """Where each record starts, in the file's order; reads the frames only."""
        offset = 0
        while offset < self.size:
            yield offset
            for start, length in self._parts(offset):
                offset = start + _padded(length)

    def _parts(self, offset: int) -> Iterator[tuple[int, int]]:
        """(start of the data, its length) of each part of a record."""
        record, first, total = offset, True, 0
        while True:
            head = self._bytes.read(offset, _FRAME.size) if self._holds(offset) else b""
            flag, length = self._frame(offset, head)
            if flag not in ((_WHOLE, _FIRST) if first else (_MIDDLE, _LAST)):
                further = f"flag 2 or 3, a further part of the record at byte {record}"
                expected = "a record's start, flag 0 or 1" if first else further
                raise self._damaged(offset, expected, f"flag {flag}")
            total += length + len(MAGIC) * (not first)
            if total > MAX_RECORD:
                raise self._damaged(record, f"a record of at most {MAX_RECORD} bytes", "more")
            last = flag in (_WHOLE, _LAST)
            # Only the last part can need padding: the others end where an aligned word stood.
            if not last and length % 4:
                raise self._damaged(offset, "a part of whole four bytes", f"{length} bytes")
            yield offset + _FRAME.size, length
            if last:
                return
            offset += _FRAME.size + length
            first = False

    def _holds(self, offset: int) -> bool:
        return 0 <= offset <= self.size - _FRAME.size

    def _frame(self, offset: int, head: bytes) -> tuple[int, int]:
        """The flag and length that stand at `offset`, checked."""
        if len(head) < _FRAME.size:
            raise self._damaged(offset, "a record", f"the end of a file of {self.size} bytes")
        magic, word = _FRAME.unpack_from(head)
        if magic != MAGIC:
            raise self._damaged(offset, f"a record, {MAGIC.hex()}", magic.hex())
        flag, length = word >> 29, word & MAX_RECORD
        if offset + _FRAME.size + _padded(length) > self.size:
            end = f"the end of a file of {self.size} bytes"
            raise self._damaged(offset, f"a record of {length} bytes", end)
        return flag, length

    def _damaged(self, offset: int, expected: str, received: object) -> ValueError:
        return ValueError(f"{self.path}, byte {offset}: expected {expected}. Received: {received}")


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4
