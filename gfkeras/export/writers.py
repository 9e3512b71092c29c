"""Writers of SavedModel, TFLite and ONNX."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras.errors import require
from gfkeras.export.quantization import compact, quantize
from gfkeras.export.quantization.aeq import SCHEMES, int4_kernels

OPSET = 18


def frozen(tf: Any, form: Any) -> Any:
    """Returns the export form with constant weights: a `tf.Module` with the same `serve`.

    Otherwise both converters leave some reads of variables in the graph. LiteRT then reads all
    weights again for each image and is six times slower.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    traced = form.serve.get_concrete_function()
    names = sorted(traced.structured_outputs)
    constant = convert_variables_to_constants_v2(traced)
    module = tf.Module(name="gfkeras")

    def serve(images: Any) -> dict[str, Any]:
        outputs = constant(images)
        # The outputs are flat. tf.nest ordered them by key when it flattened the dictionary.
        if not isinstance(outputs, dict):
            outputs = dict(zip(names, outputs, strict=True))
        return {name: tf.identity(outputs[name], name) for name in traced.structured_outputs}

    module.serve = tf.function(serve, input_signature=form.serve.input_signature, autograph=False)
    return module


def write_tflite(tf: Any, form: Any, path: Path, precision: str) -> dict[str, Any]:
    """Writes a .tflite with built-in operators only. Returns the card's entry for int4 layers.

    "fp16" stores the weights as float16. The arithmetic stays float32 unless a runtime chooses
    float16. The `SCHEMES` store the weights as integers.
    """
    module = frozen(tf, form)
    function = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    # Other operators would need parts of TensorFlow on the device.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "fp16":
        # The converter uses the type of weights only if an optimisation is set.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    if precision not in SCHEMES:
        return {}
    int4 = [kernel.layer for kernel in int4_kernels(path, precision)]
    path.write_bytes(compact(quantize(path, precision)))
    return {"int4_layers": int4} if int4 else {}


def halve(path: Path) -> None:
    """Rewrites a float32 .onnx in place: float16 inside, float32 inputs and outputs.

    Pixels and normalised activations are far below float16's largest value, 65504. Weights below
    6e-8 become zero. A runtime without float16 kernels, such as onnxruntime on x86, converts values
    before and after each operator.
    """
    onnx: Any = require("onnx", "export")
    float16: Any = require("onnxruntime.transformers.float16", "export")
    tools: Any = require("onnxruntime.quantization.onnx_model", "export")
    model = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    # The converter appends the casts of the inputs at the end, but ONNX requires nodes in order.
    tools.ONNXModel(model).topological_sort()
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_onnx(tf: Any, form: Any, path: Path, precision: str = "fp32") -> None:
    """Writes an .onnx file. "fp16" stores and computes in float16, with float32 ends."""
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides the output of Python and native code on stderr.

    If the block fails, the last 15 lines are added to the error as a note. MLIR and absl do not use
    sys.stderr, so the process's file descriptor is redirected. That also hides messages of other
    threads.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryFile() as captured, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        # Earlier text in the buffer must still reach the original stderr.
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception as error:
            captured.seek(0)
            lines = captured.read().decode("utf-8", "replace").splitlines()
            if lines:
                error.add_note("\n".join(line[:500] for line in lines[-15:]))
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
