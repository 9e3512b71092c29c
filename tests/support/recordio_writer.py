"""Writes MXNet's RecordIO from its published description, for tests of our reader.

Independent of gfkeras: after dmlc-core's `RecordIOWriter::WriteRecord` and MXNet's
`recordio.pack` and `MXIndexedRecordIO`, which are not imported either.
"""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC_NUMBER = 0xCED7230A
MAGIC_BYTES = b"\x0a\x23\xd7\xce"


def encode_record(data: bytes) -> bytes:
    """Returns one record: cut at each aligned magic number, with each part framed and padded."""
    words = len(data) // 4
    cuts = [4 * w for w in range(words) if data[4 * w : 4 * w + 4] == MAGIC_BYTES]
    output = bytearray()
    begin = 0
    for cut in cuts:
        flag = 1 if begin == 0 else 2
        output += struct.pack("<II", MAGIC_NUMBER, flag << 29 | (cut - begin)) + data[begin:cut]
        begin = cut + 4
    flag = 3 if begin else 0
    output += struct.pack("<II", MAGIC_NUMBER, flag << 29 | (len(data) - begin)) + data[begin:]
    output += b"\0" * (-len(data) % 4)
    return bytes(output)


def pack(label: float | list[float], key: int, image: bytes, count: int = 0) -> bytes:
    """Returns MXNet's IRHeader, then several labels if there are some, then the image."""
    if isinstance(label, list):
        floats = struct.pack(f"<{len(label)}f", *label)
        return struct.pack("<IfQQ", len(label), 0.0, key, 0) + floats + image
    return struct.pack("<IfQQ", count, label, key, 0) + image


class RecordWriter:
    """Writes name.rec and, by default, name.idx."""

    def __init__(self, folder: Path, name: str = "train"):
        folder.mkdir(parents=True, exist_ok=True)
        self.rec, self.idx = folder / f"{name}.rec", folder / f"{name}.idx"
        self.content = bytearray()
        self.index: list[tuple[int, int]] = []

    def write(self, key: int, data: bytes) -> int:
        offset = len(self.content)
        self.index.append((key, offset))
        self.content += encode_record(data)
        return offset

    def close(self, index: bool = True) -> None:
        self.rec.write_bytes(self.content)
        if index:
            self.idx.write_text("".join(f"{key}\t{offset}\n" for key, offset in self.index))


def write_insightface(folder: Path, people: list[list[bytes]], index: bool = True) -> None:
    """Writes InsightFace's RecBuilder files: images, ranges of people, record 0, property."""
    writer = RecordWriter(folder)
    key, ranges = 1, []
    for label, images in enumerate(people):
        first = key
        for image in images:
            writer.write(key, pack(float(label), key, image))
            key += 1
        ranges.append([float(first), float(key)])
    header = [float(key), float(key + len(people))]
    for person in ranges:
        writer.write(key, pack(person, key, b""))
        key += 1
    writer.write(0, pack(header, 0, b""))
    writer.close(index)
    (folder / "property").write_text(f"{len(people)},112,112\n")
