"""Gradients and compiled steps on JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras


def value_and_gradient(function: Callable[..., Any], images: Any, *others: Any) -> Any:
    """The terms that `function` returns beside its loss, and the loss's gradient by `images`."""
    (_, terms), gradient = jax.value_and_grad(function, has_aux=True)(images, *others)
    return terms, gradient


def compiled(step: Callable[..., Any], variables: list[Any]) -> Callable[..., Any]:
    """The step compiled; variables are arguments of it, for as constants they would be copied."""

    def stateless(values: list[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return step(*arguments)

    jitted = jax.jit(stateless)
    values = [variable.value for variable in variables]
    return lambda *arguments: jitted(values, *arguments)
