"""Writing ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.errors import require
from gfkeras.export.onnx_fp16 import halve

OPSET = 18


def write_onnx(tf: Any, form: Any, path: Path, precision: str = "fp32") -> None:
    """Writes an .onnx file, images in (B, H, W, 3) as everywhere.

    "fp16" stores and computes float16; its ends stay float32.
    """
    tf2onnx: Any = require("tf2onnx", "export")
    onnx: Any = require("onnx", "export")
    model, _ = tf2onnx.convert.from_function(
        form.serve, input_signature=form.serve.input_signature, opset=OPSET
    )
    model.producer_name = "gfkeras"
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    if precision == "fp16":
        halve(path)
