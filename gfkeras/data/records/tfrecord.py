"""The TFRecord container: length, masked CRC-32C of it, data, masked CRC-32C of that.

https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def masked_crc(data: bytes) -> int:
    """The CRC-32C of `data`, rotated by 15 bits plus a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """One record as it stands in a file."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _CRC.pack(masked_crc(length)), data, _CRC.pack(masked_crc(data))))


def unframe(framed: bytes) -> bytes:
    """The data of one whole record, `frame` undone.

    Raises:
        ValueError: where a length or checksum does not fit.
    """
    data = framed[HEADER_BYTES:-FOOTER_BYTES]
    if len(framed) < HEADER_BYTES + FOOTER_BYTES or _LENGTH.unpack_from(framed)[0] != len(data):
        raise ValueError("the record's length is not the one it states")
    if _CRC.unpack_from(framed, len(framed) - FOOTER_BYTES)[0] != masked_crc(data):
        raise ValueError("the record's checksum (CRC-32C) does not match its data")
    return data


def read_frames(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset of the data, data) of each record of a file, one after another.

    Raises:
        ValueError: at the first record that is cut short or damaged, naming its offset.
    """
    offset = 0
    while header := file.read(HEADER_BYTES):
        whole = len(header) == HEADER_BYTES
        # The length is believed only once its own checksum has been seen to match.
        if not whole or _CRC.unpack_from(header, 8)[0] != masked_crc(header[:8]):
            raise ValueError(f"the record at byte {offset} is cut short or damaged")
        length = _LENGTH.unpack_from(header)[0]
        rest = file.read(length + FOOTER_BYTES)
        if len(rest) < length + FOOTER_BYTES:
            raise ValueError(f"the record at byte {offset} is cut short")
        try:
            yield offset + HEADER_BYTES, unframe(header + rest)
        except ValueError as error:
            raise ValueError(f"the record at byte {offset}: {error}") from error
        offset += HEADER_BYTES + length + FOOTER_BYTES
