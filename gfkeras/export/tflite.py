"""Writing TFLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.export.frozen import frozen
from gfkeras.export.quantization import compact, quantize

# Without calibration.
_INTEGER_WEIGHTS = ("int8-dynamic", "int8-weights")


def write_tflite(tf: Any, form: Any, path: Path, precision: str) -> None:
    """Writes a .tflite file of built-in operators, with the signature `serving_default`.

    "fp16" stores the weights as float16; the arithmetic stays float32 unless a
    runtime chooses otherwise. "int8-dynamic" and "int8-weights" store them as int8.
    """
    module = frozen(tf, form)
    function = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    if precision in _INTEGER_WEIGHTS:
        path.write_bytes(compact(quantize(path, precision)))
