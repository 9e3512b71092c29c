"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow."""

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
"""The label of an image whose source does not name the person."""


def masked_crc(data: bytes) -> int:
    """Returns the CRC-32C of `data`, rotated by 15 bits plus a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """Returns one record in the form in which a file stores it."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _CRC.pack(masked_crc(length)), data, _CRC.pack(masked_crc(data))))


def unframe(framed: bytes) -> bytes:
    """Returns the data of one complete record. This is the inverse of `frame`.

    Raises ValueError if a length or checksum does not match.
    """
    data = framed[HEADER_BYTES:-FOOTER_BYTES]
    if len(framed) < HEADER_BYTES + FOOTER_BYTES or _LENGTH.unpack_from(framed)[0] != len(data):
        raise ValueError("the record's length differs from the length in its header")
    # A record has two checksums: one of its length (the first 8 bytes) and one of its data.
    for start, part in ((8, framed[:8]), (len(framed) - FOOTER_BYTES, data)):
        if _CRC.unpack_from(framed, start)[0] != masked_crc(part):
            raise ValueError("the record's checksum (CRC-32C) does not match its data")
    return data


@dataclasses.dataclass(frozen=True)
class Record:
    """A face image with its label.

    Attributes:
        image: the encoded JPEG.
        label: index into the label map of the split, or `NO_LABEL` without an identity.
        identity: name of the person, or "" if unknown.
        name: name of the image in its source.
        height, width: size of the image in pixels.
    """

    image: bytes
    label: int
    identity: str
    name: str
    height: int
    width: int


_EXAMPLE_PROTO = """
name: "tensorflow/core/example/example.proto" package: "tensorflow" syntax: "proto3"
message_type { name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type_name: ".tensorflow.BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type_name: ".tensorflow.FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type_name: ".tensorflow.Int64List" oneof_index: 0 } }
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type_name: "Features.FeatureEntry" }
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type_name: ".tensorflow.Feature" } } }
message_type { name: "Example" field { name: "features" number: 1 type_name: "Features" } }
"""


@functools.cache
def _example_class() -> Any:
    """Returns the message class of `tensorflow.Example`, built from its published definition.

    The class uses its own pool, because TensorFlow registers the same names in the default pool.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def encode(record: Record) -> bytes:
    """Returns a record as a serialised `tf.train.Example`. Equal records give equal bytes."""
    example = _example_class()()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(record.image)
    feature["image/format"].bytes_list.value.append(b"jpeg")
    feature["image/height"].int64_list.value.append(record.height)
    feature["image/width"].int64_list.value.append(record.width)
    feature["image/class/label"].int64_list.value.append(record.label)
    feature["image/class/text"].bytes_list.value.append(record.identity.encode())
    feature["image/filename"].bytes_list.value.append(record.name.encode())
    # The features are a map, which otherwise has no fixed order.
    return example.SerializeToString(deterministic=True)


def decode(data: bytes) -> Record:
    """Reads the bytes that `encode` writes. Raises ValueError for any other bytes."""
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
