"""MXNet's RecordIO container: magic number, flag and length, data, padding to four bytes.

If the data of a record contain the magic number at a multiple of four bytes, the record is cut
there. The number is left out, and each piece becomes a part with its own frame and flag: 1 (first),
2 (middle) or 3 (last). An uncut record has flag 0.
https://github.com/dmlc/dmlc-core (src/recordio.cc)
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from gfkeras.data.file_bytes import FileBytes
from gfkeras.files import PathLike

MAGIC = struct.pack("<I", 0xCED7230A)
# The length field has 29 bits, and the format's writer rejects longer records.
MAX_RECORD = (1 << 29) - 1
_FRAME = struct.Struct("<4sI")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
# One read of this size usually returns the frame, the image header and a few labels.
_HEAD = 64


class RecordIOFile:
    """The records of a `.rec` file, found by their offsets. It keeps no list of records.

    Every length is compared with the size of the file before it is used. ValueError, with file and
    offset, is raised for an unreadable file, and by every method for a damaged one.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)
        self._bytes = FileBytes(path)
        self.size = self._bytes.size

    def read(self, offset: int) -> bytes:
        """Returns the data of the record at `offset`, with its parts joined by the magic number."""
        return MAGIC.join(self._bytes.read(*part) for part in self._parts(offset))

    def head(self, offset: int, count: int) -> tuple[bytes, int]:
        """Returns the first `count` bytes of a record's data (or all), and the data's length.

        It reads little more than that, so that reading the heads of all records is fast.
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
            # The writer cut out the magic number between two parts.
            joint = MAGIC if start != offset + _FRAME.size else b""
            total += len(joint) + length
            if len(joined) < count:
                joined += joint + self._bytes.read(start, min(length, count))
        return bytes(joined[:count]), total

    def offsets(self) -> Iterator[int]:
        """Yields the offset of each record, in the order of the file. It reads only the frames."""
        offset = 0
        while offset < self.size:
            yield offset
            for start, length in self._parts(offset):
                offset = start + _padded(length)

    def _parts(self, offset: int) -> Iterator[tuple[int, int]]:
        """Yields (start of the data, length of the data) of each part of a record."""
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
            # Only the last part can need padding. The others end at an aligned word, the magic.
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
        """Returns the checked flag and length of the frame at `offset`."""
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
