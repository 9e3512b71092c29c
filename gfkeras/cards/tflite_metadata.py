"""Metadata of a TFLite file, added and read without changing the model."""

import struct
from typing import Any

from gfkeras.errors import require

_IDENTIFIER = b"TFL3"
# Field numbers of the table Model in the schema, and the number of its fields.
_VERSION, _BUFFERS, _METADATA, _FIELDS = 0, 4, 6, 10
_TAKEN_OVER = (1, 2, 3, 5, 7, 8, 9)
_BUFFER_OFFSET = 1
# The schema requires 16 bytes. 64 bytes are a cache line: the weights keep their position in it,
# and with it their speed.
_ALIGNMENT = 64


def with_metadata(content: bytes, name: str, value: bytes) -> bytes:
    """Returns the same model with a metadata entry added, or replaced if it exists.

    A flatbuffer is written from its end to its beginning and refers forwards only. The new root is
    therefore put before the old file. It refers to parts of that file, which keep their bytes and
    their alignment.
    """
    schema, flatbuffers = _packages()
    model = _model(schema, content)
    # The builder starts with the old file as if it had just written it.
    old = content + bytes(-len(content) % _ALIGNMENT)
    builder = flatbuffers.Builder(0)
    builder.Bytes, builder.head = bytearray(old), 0
    builder.minalign = _ALIGNMENT

    def behind(position: int) -> int:
        return len(old) - position

    value_at = builder.CreateByteVector(value)
    schema.BufferStart(builder)
    schema.BufferAddData(builder, value_at)
    buffers = [behind(model.Buffers(i)._tab.Pos) for i in range(model.BuffersLength())]
    buffers.append(schema.BufferEnd(builder))
    name_at = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name_at)
    schema.MetadataAddBuffer(builder, len(buffers) - 1)
    known = [model.Metadata(i) for i in range(model.MetadataLength())]
    entries = [behind(entry._tab.Pos) for entry in known if entry.Name() != name.encode()]
    entries.append(schema.MetadataEnd(builder))
    buffers_at, metadata_at = _vector(builder, buffers), _vector(builder, entries)
    builder.StartObject(_FIELDS)
    builder.PrependUint32Slot(_VERSION, model.Version(), 0)
    for field in _TAKEN_OVER:
        if position := _target(model, field):
            builder.PrependUOffsetTRelativeSlot(field, behind(position), 0)
    builder.PrependUOffsetTRelativeSlot(_BUFFERS, buffers_at, 0)
    builder.PrependUOffsetTRelativeSlot(_METADATA, metadata_at, 0)
    builder.Finish(builder.EndObject(), _IDENTIFIER)
    written = builder.Output()
    _move_offsets(model, written, len(written) - len(old))
    return bytes(written)


def metadata(content: bytes, name: str) -> bytes | None:
    """Returns the metadata entry of this name, or None if the file does not have it."""
    schema, _ = _packages()
    model = _model(schema, content)
    try:
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() != name.encode():
                continue
            buffer = model.Buffers(entry.Buffer())
            if buffer.Offset() > 1:
                return content[buffer.Offset() : buffer.Offset() + buffer.Size()]
            return b"" if buffer.DataIsNone() else buffer.DataAsNumpy().tobytes()
    # The reader does not check offsets. In a damaged file it fails with one of these errors.
    except (struct.error, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"not a complete flatbuffer: {error}") from error
    return None


def _packages() -> tuple[Any, Any]:
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    flatbuffers: Any = require("flatbuffers", "export")
    return schema, flatbuffers


def _model(schema: Any, content: bytes) -> Any:
    if content[4:8] != _IDENTIFIER:
        raise ValueError("not a TFLite flatbuffer")
    return schema.Model.GetRootAs(content, 0)


def _target(model: Any, field: int) -> int:
    """Returns the position in the file that a field refers to, or 0 if the field is not set."""
    place = model._tab.Offset(4 + 2 * field)
    return model._tab.Indirect(model._tab.Pos + place) if place else 0


def _vector(builder: Any, references: list[int]) -> int:
    builder.StartVector(4, len(references), 4)
    for reference in reversed(references):
        builder.PrependUOffsetTRelative(reference)
    return builder.EndVector()


def _move_offsets(model: Any, written: bytearray, by: int) -> None:
    """Moves the offsets of buffers behind the model, which count from the file's beginning."""
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.Offset() > 1:
            place = by + buffer._tab.Pos + buffer._tab.Offset(4 + 2 * _BUFFER_OFFSET)
            struct.pack_into("<Q", written, place, buffer.Offset() + by)
