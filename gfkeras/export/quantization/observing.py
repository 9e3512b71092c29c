"""The values of every tensor of a TFLite file, counted over calibration images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.export.quantization.histogram import BINS, Histogram

PIXELS = (0.0, 255.0)


def observe(path: Path, images: np.ndarray) -> dict[str, Histogram]:
    """Runs each image twice: for the ends of each tensor's values, then to count them.

    Args:
        path: a float .tflite for one image at a time.
        images: (N, H, W, 3) float32.

    Returns:
        By the name of each float tensor that is computed, and of the input, whose range is that of
        pixels.
    """
    litert: Any = require("ai_edge_litert.interpreter", "export")
    interpreter = litert.Interpreter(
        model_path=str(path),
        num_threads=1,
        # A delegate keeps what flows inside it to itself.
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    computed = _computed(interpreter)
    ends = dict.fromkeys(computed, (np.inf, -np.inf))
    for image in images:
        _run(interpreter, given["index"], image)
        for name, index in computed.items():
            value = interpreter.get_tensor(index)
            low, high = ends[name]
            ends[name] = (min(low, float(value.min())), max(high, float(value.max())))
    counts = {name: np.zeros(BINS) for name in computed}
    for image in images:
        _run(interpreter, given["index"], image)
        for name, index in computed.items():
            low, high = ends[name]
            if high > low:
                counts[name] += _counts(interpreter.get_tensor(index), low, high)
    histograms = {name: Histogram(*ends[name], counts[name]) for name in computed}
    # Whatever these images hold, others hold black and white.
    return histograms | {given["name"]: Histogram(*PIXELS, np.zeros(BINS))}


def _computed(interpreter: Any) -> dict[str, int]:
    """The float tensors that operators write, and the input."""
    written = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    written |= {detail["index"] for detail in interpreter.get_input_details()}
    return {
        detail["name"]: detail["index"]
        for detail in interpreter.get_tensor_details()
        if detail["index"] in written and detail["dtype"] == np.float32
    }


def _counts(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """`np.histogram` over bins of equal width, several times as fast."""
    bins = ((value.reshape(-1) - np.float32(low)) * np.float32(BINS / (high - low))).astype(
        np.int32
    )
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)


def _run(interpreter: Any, index: int, image: np.ndarray) -> None:
    interpreter.set_tensor(index, image[np.newaxis].astype(np.float32))
    interpreter.invoke()
