"""Sensitivity of layers to int8, and the layers that can stay float within a latency."""

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
    """Gain in the mean cosine to the float model if only this layer stays float."""

    layer: str
    gain: float


def sensitivities(
    quantize: Quantize, layers: Sequence[str], images: np.ndarray, expected: Embeddings
) -> list[Sensitivity]:
    """Returns the sensitivity of each layer, the largest first.

    `quantize` returns the int8 file in which operators that match one of the given regular
    expressions stay float. `expected` are the float model's embeddings of the images.
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
    """Returns the names of the most sensitive layers, as many as the latency allows.

    The median latency of the int8 file with these float layers is at most `max_ratio` times the
    reference's latency. Layers without a gain are left out.
    """
    useful = [each.layer for each in ranked if each.gain > 0]

    def ratio(count: int) -> float:
        content = quantize([pattern(layer) for layer in useful[:count]])
        return latency_ratio(content, reference, image)

    # The latency grows with the number of float layers, so bisection finds the largest number.
    return tuple(useful[: bisect.bisect_right(range(1, len(useful) + 1), max_ratio, key=ratio)])


def latency_ratio(content: bytes, reference: bytes, image: np.ndarray) -> float:
    """Returns the median latency of one .tflite divided by that of another, on one thread.

    The two run alternately, so a change of the machine's load affects both.
    """
    litert = load_litert()
    runs = []
    for each in (content, reference):
        interpreter = litert.Interpreter(model_content=each, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        runs.append(interpreter)
    seconds: list[list[float]] = [[], []]
    # The first five runs warm up caches and are not counted.
    for run in range(-5, _RUNS):
        for interpreter, measured in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            interpreter.invoke()
            if run >= 0:
                measured.append(time.perf_counter() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def pattern(layer: str) -> str:
    """Returns a regular expression for the operators that a Keras layer became."""
    # A fused operator: functional_3_1/stem_conv_1/BiasAdd;functional_3_1/stem_conv_1/convolution
    return rf"(^|.*[/;]){re.escape(layer)}(_\d+)?/.*"
