"""Quantisation of artefacts to int8 and int4."""

from gfkeras.export.quantization.aeq import compact, quantize
from gfkeras.export.quantization.calibration import MAX_FACES, MIN_FACES, Calibration
from gfkeras.export.quantization.int8 import Int8Result, Int8Settings, int8_tflite
from gfkeras.export.quantization.onnx_int8 import int8_onnx
from gfkeras.export.quantization.qat import QatSettings

__all__ = [
    "MAX_FACES", "MIN_FACES", "Calibration", "Int8Result", "Int8Settings", "QatSettings", "compact",
    "int8_onnx", "int8_tflite", "quantize",
]  # fmt: skip
