"""Sensitivity of layers to int8, and how many may stay float within a latency."""

import bisect
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gfkeras.backend import load_litert
from gfkeras.export.quantization.calibration import Embeddings, embed

Quantize = Callable[[Sequence[str]], bytes]
_RUNS = 60


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """By how much the mean cosine to the float model grows where one layer alone stays float."""

    layer: str
    gain: float


def sensitivities(
    quantize: Quantize, layers: Sequence[str], images: np.ndarray, expected: Embeddings
) -> list[Sensitivity]:
    """Leaves each layer float in turn; the costliest first.

    `quantize` gives the int8 file in which operators that match any of some regular expressions
    stay float; `expected` is what the float model gives for the images, (N, H, W, 3) float32.
    """
    base = embed(quantize(()), images).mean_cosine(expected)
    found = []
    for layer in layers:
        cosine = embed(quantize((pattern(layer),)), images).mean_cosine(expected)
        found.append(Sensitivity(layer, cosine - base))
    return sorted(found, key=lambda each: -each.gain)


def within_latency(
    quantize: Quantize, ranked: Sequence[Sensitivity], reference: bytes, image: np.ndarray,
    max_ratio: float,
) -> tuple[str, ...]:  # fmt: skip
    """The names of as many of the costliest layers as may stay float.

    The int8 file's median latency is at most `max_ratio` times the reference's, measured in turns.
    Layers without a gain are left out.
    """
    useful = [each.layer for each in ranked if each.gain > 0]

    def ratio(count: int) -> float:
        content = quantize([pattern(layer) for layer in useful[:count]])
        return latency_ratio(content, reference, image)

    # More float layers are slower, so the number that fits is found by halving.
    return tuple(useful[: bisect.bisect_right(range(1, len(useful) + 1), max_ratio, key=ratio)])


def latency_ratio(content: bytes, reference: bytes, image: np.ndarray) -> float:
    """Median latency of one .tflite over another's, run in turns on one thread."""
    litert = load_litert()
    runs = []
    for each in (content, reference):
        interpreter = litert.Interpreter(model_content=each, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        runs.append(interpreter)
    seconds: list[list[float]] = [[], []]
    for run in range(-5, _RUNS):
        for interpreter, measured in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            interpreter.invoke()
            if run >= 0:
                measured.append(time.perf_counter() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def pattern(layer: str) -> str:
    """A regular expression for the operators that Keras' layer of this name became."""
    # functional_3_1/stem_conv_1/BiasAdd;functional_3_1/stem_conv_1/convolution
    return rf"(^|.*[/;]){re.escape(layer)}(_\d+)?/.*"
