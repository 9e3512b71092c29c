"""The values of one tensor, counted, and the range that int8 should have for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATISTICS = ("min-max", "percentile", "mse")
BINS = 4096
# int8 without its lowest value, as runtimes use it.
_LEVELS = 255
# What "percentile" leaves out, at each end.
_TAIL = 1e-5
# How far in "mse" looks for its ends, as a fraction of what was seen.
_CUTS = np.linspace(1.0, 0.4, 25)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of values between the smallest and the largest seen.

    Attributes:
        low, high: the smallest and the largest value.
        counts: (4096,) in bins of equal width.
    """

    low: float
    high: float
    counts: np.ndarray

    def range(self, statistic: str) -> tuple[float, float]:
        """(low, high) for int8, with zero inside.

        Args:
            statistic: "min-max": all that was seen. "percentile": without 1e-5 of the values at
                either end. "mse": the ends whose rounding and clipping errors have the smallest
                mean square together.
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
        """One end after the other, twice: the error is nearly a sum of one part for each."""

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
