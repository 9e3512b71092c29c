"""Gradients and compiled steps on TensorFlow and JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

BACKENDS = ("tensorflow", "jax")


def require_backend() -> None:
    """Raises ValueError on a Keras backend that inversion cannot use."""
    if (name := keras.backend.backend()) not in BACKENDS:
        raise ValueError(
            f"Inversion needs the Keras backend tensorflow or jax. Received: KERAS_BACKEND={name}"
        )


def value_and_gradient(function: Callable[..., Any], images: Any, *others: Any) -> Any:
    """The terms that `function` returns beside its loss, and the loss's gradient by `images`."""
    if keras.backend.backend() == "jax":
        import jax

        (_, terms), gradient = jax.value_and_grad(function, has_aux=True)(images, *others)
        return terms, gradient
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss, terms = function(images, *others)
    return terms, tape.gradient(loss, images)


def compiled(step: Callable[..., Any], variables: list[Any]) -> Callable[..., Any]:
    """A compiled step.

    Args:
        step: a function of tensors.
        variables: those that it reads. A TensorFlow graph holds them itself; for JAX they are
            arguments, since constants would be copied.
    """
    if keras.backend.backend() == "jax":
        import jax

        def stateless(values: list[Any], *arguments: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return step(*arguments)

        jitted = jax.jit(stateless)
        values = [variable.value for variable in variables]
        return lambda *arguments: jitted(values, *arguments)
    import tensorflow as tf

    graph = tf.function(step, autograph=False)
    return lambda *arguments: graph(*(tf.convert_to_tensor(value) for value in arguments))
