"""Selection of tests that run on JAX only in `make test-all`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import pytest

JAX = keras.backend.backend() == "jax"

# JAX compiles each operation of an eager run on its own, which takes several times as long as the
# test itself, and the operations are those of the compiled run. TensorFlow's eager tapes and its
# graphs are different code, so both are always tested there. On JAX the quick tests that run both
# are those of distances (`losses/test_pairwise.py`) and of state (`heads/test_head_state.py`).
_eager = [pytest.mark.slow] if JAX else []

EAGER_AND_COMPILED = pytest.mark.parametrize(
    "compiled",
    [pytest.param(False, id="eager", marks=_eager), pytest.param(True, id="compiled")],
)


def few_on_jax(values: Iterable[Any], *few: Any) -> list[Any]:
    """Parameters that JAX runs only in `make test-all`, except for a few.

    For many cases of the same code that TensorFlow tests in full.
    """
    values = list(values)
    assert set(few) <= set(values), few
    return [
        pytest.param(value, marks=[pytest.mark.slow] if JAX and value not in few else [])
        for value in values
    ]


def slow_on_jax(test: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a test on JAX only in `make test-all`.

    For consequences of a formula that other tests compare with an oracle on both backends, such as
    invariances, agreement with another package and the examples in docstrings.
    """
    return pytest.mark.slow(test) if JAX else test
