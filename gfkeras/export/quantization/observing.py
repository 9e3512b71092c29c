"""The values of every tensor of a TFLite file, counted over calibration images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gfkeras.errors import require
from gfkeras.export.quantization.histogram import BINS, Histogram

PIXELS = (0.0, 255.0)


class Tensors(Protocol):
    """A network that shows what it computes on the way, by name."""

    @property
    def computed(self) -> Collection[str]: ...

    def __call__(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]: ...


def observe(path: Path, images: np.ndarray) -> dict[str, Histogram]:
    """The values of a .tflite's tensors.

    Args:
        path: a float .tflite for one image at a time.
        images: (N, H, W, 3) float32.

    Returns:
        By the name of each float tensor that is computed, and of the input, whose range is that of
        pixels.
    """
    tensors = AllTensors(path)
    # Whatever these images hold, others hold black and white.
    return count(tensors, images) | {tensors.given: Histogram(*PIXELS, np.zeros(BINS))}


def count(tensors: Tensors, images: np.ndarray) -> dict[str, Histogram]:
    """Runs each image twice: for the ends of each tensor's values, then to count them."""
    ends = dict.fromkeys(tensors.computed, (np.inf, -np.inf))
    for image in images:
        for name, value in tensors(image):
            low, high = ends[name]
            ends[name] = (min(low, float(value.min())), max(high, float(value.max())))
    counts = {name: np.zeros(BINS) for name in tensors.computed}
    for image in images:
        for name, value in tensors(image):
            low, high = ends[name]
            if high > low:
                counts[name] += _counts(value, low, high)
    return {name: Histogram(*ends[name], counts[name]) for name in tensors.computed}


class AllTensors:
    """A float .tflite that shows what it computes on the way.

    Args:
        path: of a file for one image at a time.

    Call arguments:
        image: (H, W, 3).

    Returns:
        The name and value of each float tensor that an operator writes, and of the input.

    Attributes:
        given: the input's name.
        computed: the index of each of these tensors, by name.
    """

    def __init__(self, path: Path):
        litert: Any = require("ai_edge_litert.interpreter", "export")
        self._interpreter = litert.Interpreter(
            model_path=str(path),
            num_threads=1,
            # A delegate keeps what flows inside it to itself.
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        self.given: str = given["name"]
        self._input = given["index"]
        written = {int(i) for op in self._interpreter._get_ops_details() for i in op["outputs"]}
        self.computed: dict[str, int] = {
            detail["name"]: detail["index"]
            for detail in self._interpreter.get_tensor_details()
            if detail["index"] in written | {self._input} and detail["dtype"] == np.float32
        }

    def __call__(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        self._interpreter.set_tensor(self._input, image[np.newaxis].astype(np.float32))
        self._interpreter.invoke()
        for name, index in self.computed.items():
            yield name, self._interpreter.get_tensor(index)


def _counts(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """`np.histogram` over bins of equal width, several times as fast."""
    bins = ((value.reshape(-1) - np.float32(low)) * np.float32(BINS / (high - low))).astype(
        np.int32
    )
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
