"""TFRecord files: the container and the `tf.train.Example` in it, without TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import struct
from typing import Any

import google_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")

NO_LABEL = -1
"""The label of an image whose source names no person."""


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
    for start, part in ((8, framed[:8]), (len(framed) - FOOTER_BYTES, data)):
        if _CRC.unpack_from(framed, start)[0] != masked_crc(part):
            raise ValueError("the record's checksum (CRC-32C) does not match its data")
    return data


@dataclasses.dataclass(frozen=True)
class Record:
    """A face image with its label.

    Attributes:
        image: the encoded JPEG.
        label: index into the split's label map; `NO_LABEL` without an identity.
        identity: the person's name, "" without one.
        name: of the image in its source.
        height, width: of the image in pixels.
    """

    image: bytes
    label: int
    identity: str
    name: str
    height: int
    width: int


@functools.cache
def _example_class() -> Any:
    """The message class of `tensorflow.Example`, from its published definition.

    It has a pool of its own, since TensorFlow registers the same names in the common one.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow/core/example/example.proto", package="tensorflow", syntax="proto3"
    )

    def message(name: str, *fields: tuple[str, int, int, int, str | None]) -> Any:
        added = file.message_type.add(name=name)
        for field, number, label, kind, type_name in fields:
            added.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)
        return added

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", ("value", 1, many, kinds.TYPE_BYTES, None))
    message("FloatList", ("value", 1, many, kinds.TYPE_FLOAT, None))
    message("Int64List", ("value", 1, many, kinds.TYPE_INT64, None))
    feature = message(
        "Feature",
        ("bytes_list", 1, one, kinds.TYPE_MESSAGE, ".tensorflow.BytesList"),
        ("float_list", 2, one, kinds.TYPE_MESSAGE, ".tensorflow.FloatList"),
        ("int64_list", 3, one, kinds.TYPE_MESSAGE, ".tensorflow.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message(
        "Features", ("feature", 1, many, kinds.TYPE_MESSAGE, ".tensorflow.Features.FeatureEntry")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=kinds.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=one, type=kinds.TYPE_MESSAGE, type_name=".tensorflow.Feature"
    )
    message("Example", ("features", 1, one, kinds.TYPE_MESSAGE, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def encode(record: Record) -> bytes:
    """The record as a serialised `tf.train.Example`; equal records give equal bytes."""
    example = _example_class()()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(record.image)
    feature["image/format"].bytes_list.value.append(b"jpeg")
    feature["image/height"].int64_list.value.append(record.height)
    feature["image/width"].int64_list.value.append(record.width)
    feature["image/class/label"].int64_list.value.append(record.label)
    feature["image/class/text"].bytes_list.value.append(record.identity.encode())
    feature["image/filename"].bytes_list.value.append(record.name.encode())
    return example.SerializeToString(deterministic=True)


def decode(data: bytes) -> Record:
    """Reads what `encode` wrote; ValueError for bytes that are no such record."""
    from google.protobuf.message import DecodeError

    try:
        feature = _example_class().FromString(data).features.feature
        return Record(
            image=feature["image/encoded"].bytes_list.value[0],
            label=feature["image/class/label"].int64_list.value[0],
            identity=feature["image/class/text"].bytes_list.value[0].decode(),
            name=feature["image/filename"].bytes_list.value[0].decode(),
            height=feature["image/height"].int64_list.value[0],
            width=feature["image/width"].int64_list.value[0],
        )
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a record of gfkeras: {error!r}") from error
