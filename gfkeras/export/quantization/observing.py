"""Histograms of a network's activations over calibration images."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gfkeras.backend import load_litert

STATISTICS = ("min-max", "percentile", "mse")
BINS = 4096
# Number of steps between the 256 values of int8.
_LEVELS = 255
# Share of the values that "percentile" ignores at each end.
_TAIL = 1e-5
# Candidates for the ends in "mse", as fractions of the observed ends.
_CUTS = np.linspace(1.0, 0.4, 25)

# Range of pixels.
PIXELS = (0.0, 255.0)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of values in 4096 bins of equal width between the smallest and the largest value."""

    low: float
    high: float
    counts: np.ndarray

    def range(self, statistic: str) -> tuple[float, float]:
        """Returns (low, high) for int8, with low ≤ 0 ≤ high.

        "min-max" covers all values. "percentile" ignores 1e-5 of the values at each end. "mse"
        chooses the ends with the smallest mean square error of rounding and clipping.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        total = self.counts.sum()
        if statistic == "min-max" or not total or high == low:
            return low, high
        edges = np.linspace(self.low, self.high, BINS + 1)
        if statistic == "percentile":
            below = np.cumsum(self.counts) / total
            first = int(np.searchsorted(below, _TAIL))
            last = int(np.searchsorted(below, 1 - _TAIL))
            return min(float(edges[first]), 0.0), max(float(edges[min(last, BINS - 1) + 1]), 0.0)
        return self._least_error((edges[:-1] + edges[1:]) / 2, low, high)

    def _least_error(self, values: np.ndarray, low: float, high: float) -> tuple[float, float]:
        """Searches one end after the other, twice.

        The error is nearly the sum of a part for each end, so a search over pairs is not needed.
        """

        def error(low: float, high: float) -> float:
            step = (high - low) / _LEVELS
            if not step > 0:
                return np.inf
            rounded = np.clip(np.round((values - low) / step), 0, _LEVELS) * step + low
            return float(self.counts @ (rounded - values) ** 2)

        lows, highs = low * _CUTS, high * _CUTS
        for _ in range(2):
            low = min(lows, key=lambda end: error(end, high))
            high = min(highs, key=lambda end: error(low, end))
        return float(low), float(high)


class Tensors(Protocol):
    """A network that returns its intermediate tensors by name."""

    @property
    def computed(self) -> Collection[str]: ...

    def __call__(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]: ...


def observe(path: Path, images: np.ndarray) -> dict[str, Histogram]:
    """Returns a histogram for each float tensor of a .tflite, by name, over (N, H, W, 3) images.

    The histogram of the input has the range of pixels.
    """
    tensors = AllTensors(path)
    # Other images contain black and white, even if these do not.
    return count(tensors, images) | {tensors.given: Histogram(*PIXELS, np.zeros(BINS))}


def count(tensors: Tensors, images: np.ndarray) -> dict[str, Histogram]:
    """Runs each image twice, first to find the ends of each tensor's values, then to count them.

    Storing all activations for one pass would need too much memory.
    """
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
    """A float .tflite that takes one image, (H, W, 3), and yields its float tensors by name.

    The tensors are the outputs of all operators and the input, which is called `given`.
    """

    def __init__(self, path: Path):
        litert = load_litert()
        self._interpreter = litert.Interpreter(
            model_path=str(path),
            num_threads=1,
            # The tensors inside a delegate cannot be read.
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
    """Counts values in bins of equal width, several times as fast as `np.histogram`."""
    bins = ((value.reshape(-1) - np.float32(low)) * np.float32(BINS / (high - low))).astype(
        np.int32
    )
    # The largest value would be in the bin after the last one.
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
