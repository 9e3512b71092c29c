"""Edits of TFLite files as objects of their schema."""

from typing import Any

import numpy as np

from gfkeras.errors import require


def unpacked(content: bytes) -> Any:
    """Returns the `ModelT` of ai_edge_litert's schema, with the contents of all buffers."""
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:
        # The content of this buffer is stored behind the flatbuffer, not in it.
        if buffer.offset > 1:
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """Returns the file of a `ModelT`, in which equal vectors are written once."""
    flatbuffers: Any = require("flatbuffers", "export")
    builder = _sharing_builder(flatbuffers)(2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sharing_builder(flatbuffers: Any) -> type:
    class SharingBuilder(flatbuffers.Builder):  # type: ignore[name-defined,misc]
        """Writes a vector that it has already written as a reference to the first one."""

        def __init__(self, size: int):
            super().__init__(size)
            self._vectors: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            key = (x.dtype.str, x.tobytes())
            if key not in self._vectors:
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

    return SharingBuilder


def compact(content: bytes) -> bytes:
    """Returns the same model in fewer bytes, with short names and without repeated vectors.

    A tensor with one scale per channel also has a zero point of 8 bytes per channel, and all of
    them are zero. The converter builds a tensor's name from all operations that were fused into it.
    Both together are 15 % of MobileFaceNet's int8 file. Inputs and outputs keep their names.
    """
    model = unpacked(content)
    for graph in model.subgraphs:
        _shorten(graph)
    return packed(model)


def _shorten(graph: Any) -> None:
    """Names tensors after their layer, with a number if the layer has several."""
    kept = {*graph.inputs, *graph.outputs}
    seen: dict[str, int] = {}
    for index, tensor in enumerate(graph.tensors):
        if index in kept:
            continue
        layer = layer_name((tensor.name or b"").decode())
        seen[layer] = number = seen.get(layer, 0) + 1
        tensor.name = (layer if number == 1 else f"{layer}:{number}").encode()


def layer_name(tensor: str) -> str:
    """Returns the name of the Keras layer in a tensor's name."""
    # A fused tensor: functional_3_1/stem_conv_1/BiasAdd;functional_3_1/stem_conv_1/convolution
    parts = tensor.partition(";")[0].split("/")
    return (parts[1] if len(parts) > 2 else parts[-1]).removesuffix("_1")


def integer_outputs(content: bytes) -> bytes:
    """Replaces each output that is converted to float at the end by the int8 value before it.

    If other operators read an output in float, ai-edge-quantizer keeps the conversion but names the
    int8 value in the signature. An example is the group logits, which argmax reads. No runtime can
    run such a file.
    """
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = unpacked(content)
    dequantize = schema.BuiltinOperator.DEQUANTIZE
    codes = {i for i, code in enumerate(model.operatorCodes) if code.builtinCode == dequantize}
    (graph,) = model.subgraphs
    before = {op.outputs[0]: op.inputs[0] for op in graph.operators if op.opcodeIndex in codes}
    graph.outputs = [before.get(output, output) for output in graph.outputs]
    for signature in model.signatureDefs:
        for output in signature.outputs:
            output.tensorIndex = before.get(output.tensorIndex, output.tensorIndex)
    return packed(model)
