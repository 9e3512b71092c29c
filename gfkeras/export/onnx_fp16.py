"""An .onnx that stores and computes float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.errors import require


def halve(path: Path) -> None:
    """Rewrites a float32 .onnx in place: float16 inside, float32 at its ends.

    Pixels of 0…255, and what a network of normalised layers makes of them, are far from float16's
    65504; weights below 6e-8 become zero. A runtime without float16 kernels, such as onnxruntime
    on x86, converts to float32 and back around each operator.
    """
    onnx: Any = require("onnx", "export")
    float16: Any = require("onnxruntime.transformers.float16", "export")
    tools: Any = require("onnxruntime.quantization.onnx_model", "export")
    model = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    # The conversions at the ends are appended wherever they belong.
    tools.ONNXModel(model).topological_sort()
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
