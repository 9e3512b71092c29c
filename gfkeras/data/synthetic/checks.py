"""Checks of the arguments of the synthetic faces."""

from __future__ import annotations

import numbers


def check_count(name: str, value: object, least: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"`{name}` expected an integer >= {least}. Received: {name}={value!r}")


def check_strength(value: object) -> None:
    """Raise ValueError unless `value` is a number within [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(
            f"`strength` expected a number within [0, 1]. Received: strength={value!r}"
        )
