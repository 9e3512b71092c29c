"""InsightFace's training sets (`train.rec`, `train.idx`, `property`) in MXNet's RecordIO.

A record has a magic number, flag and length, data, and padding to four bytes. If its data contain
the magic number at a multiple of four bytes, the record is cut there. The number is left out, and
each piece becomes a part with its own frame and flag: 1 (first), 2 (middle) or 3 (last). An uncut
record has flag 0. https://github.com/dmlc/dmlc-core (src/recordio.cc)
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gfkeras import text_lists
from gfkeras.data.file_bytes import FileBytes
from gfkeras.data.sources.source import Item, Refused, Source
from gfkeras.errors import ImageError, wrong
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


# IRHeader: flag, label, id, id2. A flag above 0 is the number of float32 labels that follow.
_IMAGE_HEADER = struct.Struct("<IfQQ")


class KeySet:
    """A set of the keys seen so far, with about one bit per key.

    A Python set takes tens of bytes per key. The keys of a data set are almost always 0…N, in any
    order.
    """

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def add(self, key: int) -> bool:
        """Adds `key`. Returns False if it was already in the set."""
        # The 1,024 bits of a page stand for 1,024 consecutive keys.
        number, bit = key >> 10, 1 << (key & 1023)
        page = self._pages.get(number, 0)
        self._pages[number] = page | bit
        return not page & bit


class _Header(NamedTuple):
    labels: tuple[float, ...]
    key: int
    data_start: int
    has_data: bool


class MXNetRecordsSource(Source):
    """Images in MXNet's RecordIO, as InsightFace publishes MS1M, Glint360K, WebFace and others.

    If there is an index (`train.idx` next to `train.rec`, with lines of key, tab, offset), the
    images are in the order of the index. Record 0 can be a header record, whose first label is the
    key after the last image. Then only the keys from 1 up to that one are images, as in
    InsightFace's own reader. Otherwise every record is an image. Without an index, the file is
    scanned from its start, and records without data are skipped.

    The identity is the first label, and the name is "identity/key.jpg". `items` reads only headers.
    To find repeated keys, it uses about one bit of memory per image.

    Args:
        path: the `.rec` file, or its folder. In a folder, `train.rec` or the only `.rec` file is
            used.

    Attributes:
        index: the index file, or None.
        num_classes, image_size: the values in the file `property`, or None without that file.

    Raises:
        ValueError: with file and place, for missing or damaged records, index or `property`.

    Example:
        MXNetRecordsSource("faces_emore").num_classes       # 85742
    """

    format = "recordio"

    def __init__(self, path: PathLike):
        self.path = Path(path)
        self.file = _record_file(self.path)
        self._records = RecordIOFile(self.file)
        index = self.file.with_suffix(".idx")
        self.index = index if index.is_file() else None
        self.num_classes, self.image_size = _properties(self.file.parent / "property")

    def items(self) -> Iterator[Item | Refused]:
        """Yields every image. The locator is the offset of the record."""
        keys = KeySet()
        scanned = ((None, offset) for offset in self._records.offsets())
        for key, offset in scanned if self.index is None else self._indexed():
            try:
                header = self._header(offset)
            except _BadHeader as error:
                yield Refused(f"record at byte {offset}", str(error))
                continue
            if not header.has_data:
                # Without an index, these are the header record and the ranges of the identities.
                if self.index is not None:
                    yield Refused(f"record at byte {offset}", "a record without an image")
                continue
            new = keys.add(header.key if key is None else key)
            yield self._item(header, key, offset, new)

    def _item(self, header: _Header, key: int | None, offset: int, new: bool) -> Item | Refused:
        label = header.labels[0]
        if not math.isfinite(label) or label < 0 or label != int(label):
            reason = f"a label that is not a whole number of at least 0 ({label:g})"
            return Refused(f"record at byte {offset}", reason, "label")
        identity = str(int(label))
        name = f"{identity}/{header.key if key is None else key:09d}"
        if new:
            return Item(f"{name}.jpg", identity, str(offset))
        if key is None:
            # Some writers give every record the id 0. The offset makes the name unique.
            return Item(f"{name}-{offset}.jpg", identity, str(offset))
        return Refused(f"{name}.jpg", f"the key {key} is twice in {self.index}")

    def _indexed(self) -> Iterator[tuple[int, int]]:
        """Yields (key, offset) of the images in the index."""
        # Record 0 is often in the last line, because writers know its content only at the end.
        zero = next((offset for key, offset in self._index_lines() if key == 0), None)
        end = None if zero is None else self._image_end(zero)
        for key, offset in self._index_lines():
            if end is None or 1 <= key < end:
                yield key, offset

    def _image_end(self, zero: int) -> int | None:
        """Returns the key after the last image, or None if the record is not a header record."""
        try:
            header = self._header(zero)
        except _BadHeader:
            return None
        # An image can have several labels too. Only a record without data is a header record.
        if header.has_data or len(header.labels) < 2:
            return None
        if not 1 <= header.labels[0] <= header.labels[1]:
            raise ValueError(
                f"{self.file}, byte {zero}: expected a header record with the end of the images "
                f"and of the identities. Received: {header.labels[0]:g}, {header.labels[1]:g}"
            )
        return int(header.labels[0])

    def _index_lines(self) -> Iterator[tuple[int, int]]:
        assert self.index is not None
        for number, line in text_lists.lines(self.index):
            fields = line.split("\t")
            if len(fields) != 2 or not all(text_lists.is_count(f, bits=64) for f in fields):
                raise text_lists.malformed(self.index, number, "key, tab, offset", line)
            key, offset = map(int, fields)
            if offset >= self._records.size:
                expected = f"an offset under {self._records.size}, the size of {self.file}"
                raise text_lists.malformed(self.index, number, expected, line)
            yield key, offset

    def _header(self, offset: int) -> _Header:
        start = _IMAGE_HEADER.size
        # Two labels are enough. The stated number of labels can be wrong and must not cost memory.
        head, length = self._records.head(offset, start + 8)
        if length < start:
            raise _BadHeader(f"{length} bytes, fewer than the {start} of an image header")
        count, label, key, _ = _IMAGE_HEADER.unpack_from(head)
        if count == 0:
            return _Header((label,), key, start, length > start)
        labels_end = start + 4 * count
        if length < labels_end:
            raise _BadHeader(f"{length} bytes, fewer than its {count} labels need")
        labels = struct.unpack_from(f"<{min(count, 2)}f", head, start)
        return _Header(labels, key, labels_end, length > labels_end)

    def read(self, locator: str) -> bytes:
        """Returns the image in the record at the offset `locator`."""
        place = f"{self.file}, record at byte {locator}"
        try:
            header = self._header(int(locator))
            content = self._records.read(int(locator))[header.data_start :]
        except ValueError as error:
            raise ImageError(place, str(error)) from error
        if not content:
            raise ImageError(place, "a record without an image")
        return content

    def describe(self) -> dict[str, Any]:
        """Returns format, file, its size in bytes, whether it has an index, and `property`."""
        return {
            **super().describe(),
            "path": str(self.file.absolute()),
            "bytes": self._records.size,
            "index": self.index is not None,
            "num_classes": self.num_classes,
            "image_size": self.image_size and list(self.image_size),
        }


class _BadHeader(ValueError):
    """A complete record without a valid image header. `items` refuses it and continues."""


def record_files(folder: Path) -> list[Path]:
    """Returns the `.rec` files directly in a folder, without macOS's own files (`._train.rec`)."""
    return sorted(path for path in folder.glob("*.rec") if not path.name.startswith("."))


def _record_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = record_files(path) if path.is_dir() else []
    if path / "train.rec" in found:
        return path / "train.rec"
    if len(found) != 1:
        reason = f"which has {len(found)} .rec files" if path.is_dir() else "which does not exist"
        received = f"path={str(path)!r}, {reason}"
        raise wrong("path", "be a .rec file, or a folder with train.rec or one .rec file", received)
    return found[0]


def _properties(file: Path) -> tuple[int | None, tuple[int, int] | None]:
    """Returns (number of classes, (height, width)) of a file with "85742,112,112"."""
    if not file.is_file():
        return None, None
    line = next((text for _, text in text_lists.lines(file)), "")
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 3 or not all(map(text_lists.is_count, fields)):
        raise text_lists.malformed(file, 1, "classes,height,width", line)
    classes, height, width = map(int, fields)
    return classes, (height, width)
