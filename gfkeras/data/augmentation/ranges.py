"""Checking an argument that is a range."""

from __future__ import annotations

import numbers
from typing import Any


def positive_range(argument: str, value: Any, largest: float = float("inf")) -> tuple[float, float]:
    """Returns [low, high] as a tuple of floats.

    Raises:
        ValueError: unless 0 < low ≤ high ≤ `largest`, and finite.
    """
    pair = list(value) if isinstance(value, (list, tuple)) else []
    if (
        len(pair) != 2
        or any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in pair)
        or not 0 < pair[0] <= pair[1] <= largest
        or pair[1] == float("inf")
    ):
        bound = f" ≤ {largest:g}" if largest < float("inf") else ""
        raise ValueError(
            f"`{argument}` must be two numbers, 0 < low ≤ high{bound}. "
            f"Received: {argument}={value!r}"
        )
    return float(pair[0]), float(pair[1])
