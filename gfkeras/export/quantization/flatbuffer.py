"""A TFLite file as objects and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from gfkeras.errors import require


def unpacked(content: bytes) -> Any:
    """The `ModelT` of ai_edge_litert's schema, with the contents of all buffers."""
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:
        # Written behind the model instead of into it.
        if buffer.offset > 1:
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """The file of a `ModelT`; equal vectors are written once."""
    flatbuffers: Any = require("flatbuffers", "export")
    builder = _sharing_builder(flatbuffers)(2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sharing_builder(flatbuffers: Any) -> type:
    class SharingBuilder(flatbuffers.Builder):  # type: ignore[name-defined,misc]
        """Writes a vector that it has written before as a reference to that one."""

        def __init__(self, size: int):
            super().__init__(size)
            self._vectors: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            key = (x.dtype.str, x.tobytes())
            if key not in self._vectors:
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

    return SharingBuilder
