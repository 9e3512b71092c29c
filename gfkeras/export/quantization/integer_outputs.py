"""Outputs in int8 that the network reads itself."""

from __future__ import annotations

from typing import Any

from gfkeras.errors import require
from gfkeras.export.quantization.flatbuffer import packed, unpacked


def integer_outputs(content: bytes) -> bytes:
    """Makes each output that is converted to float at the end the int8 value before it.

    ai-edge-quantizer leaves the conversion at the end of an output which other operators read in
    float, such as the group logits with their argmax, and names the int8 value in the signature:
    a file that no runtime answers.

    Args:
        content: of an int8 .tflite.
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
