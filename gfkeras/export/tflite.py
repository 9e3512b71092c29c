"""Writing TFLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.export.frozen import frozen
from gfkeras.export.quantization import compact, quantize
from gfkeras.export.quantization.weight_recipes import SCHEMES, int4_kernels


def write_tflite(tf: Any, form: Any, path: Path, precision: str) -> dict[str, Any]:
    """Writes a .tflite file of built-in operators, with the signature `serving_default`.

    "fp16" stores the weights as float16; the arithmetic stays float32 unless a
    runtime chooses otherwise. The `SCHEMES` store them as integers.

    Returns:
        What of it the card should say: which layers' weights are int4, where some are.
    """
    module = frozen(tf, form)
    function = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    if precision not in SCHEMES:
        return {}
    int4 = [kernel.layer for kernel in int4_kernels(path, precision)]
    path.write_bytes(compact(quantize(path, precision)))
    return {"int4_layers": int4} if int4 else {}
