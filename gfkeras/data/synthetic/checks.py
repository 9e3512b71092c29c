"""Checks of the arguments of the synthetic faces."""

from __future__ import annotations

import numbers


def check_count(name: str, value: object, least: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"`{name}` expected an integer >= {least}. Received: {name}={value!r}")
