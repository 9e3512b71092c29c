"""Eager and compiled, as the parameter `compiled` of a test of values and gradients."""

from __future__ import annotations

import keras
import pytest

# JAX compiles each operation of an eager run on its own, which takes several times as long as the
# test itself, and the operations are those of the compiled run. TensorFlow's eager tapes and its
# graphs are different code, so both are always tested there. On JAX the quick tests that run both
# are those of distances (`losses/test_pairwise.py`) and of state (`heads/test_head_state.py`).
_eager = [pytest.mark.slow] if keras.backend.backend() == "jax" else []

EAGER_AND_COMPILED = pytest.mark.parametrize(
    "compiled",
    [pytest.param(False, id="eager", marks=_eager), pytest.param(True, id="compiled")],
)
