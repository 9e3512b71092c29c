"""Values and gradients on either backend, eager or compiled, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def finite_differences(
    function: Callable[..., float], *arrays: np.ndarray, step: float = 1e-6
) -> list[np.ndarray | None]:
    """Returns central differences of a float64 function of arrays, or None for integer arrays."""
    arrays = tuple(
        a.astype("float64") if np.issubdtype(a.dtype, np.floating) else a for a in arrays
    )
    gradients: list[np.ndarray | None] = []
    for position, array in enumerate(arrays):
        if not np.issubdtype(array.dtype, np.floating):
            gradients.append(None)
            continue
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            sides = []
            for sign in (1, -1):
                moved = array.copy()
                moved[index] += sign * step
                sides.append(function(*arrays[:position], moved, *arrays[position + 1 :]))
            gradient[index] = (sides[0] - sides[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def value_and_gradients(
    function: Callable[..., Any], *arrays: np.ndarray, compiled: bool = False
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Returns a scalar function's value and its gradients, which are None for integer arrays."""
    floats = [i for i, a in enumerate(arrays) if np.issubdtype(np.asarray(a).dtype, np.floating)]
    if keras.backend.backend() == "jax":
        import jax

        differentiated = jax.value_and_grad(function, argnums=tuple(floats))
        run = jax.jit(differentiated) if compiled else differentiated
        value, found = run(*arrays)
    else:
        import tensorflow as tf

        def run(*tensors):
            with tf.GradientTape() as tape:
                tape.watch([tensors[i] for i in floats])
                value = function(*tensors)
            return value, tape.gradient(
                value,
                [tensors[i] for i in floats],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        tensors = [tf.convert_to_tensor(a) for a in arrays]
        value, found = (tf.function(run) if compiled else run)(*tensors)
    gradients: list[np.ndarray | None] = [None] * len(arrays)
    for position, gradient in zip(floats, found, strict=True):
        gradients[position] = ops.convert_to_numpy(gradient)
    return ops.convert_to_numpy(value), gradients


def layer_value_and_gradients(
    layer: keras.layers.Layer,
    reduce: Callable[..., Any],
    *inputs: np.ndarray,
    training: bool = False,
    compiled: bool = False,
) -> tuple[np.ndarray, list[np.ndarray | None], list[np.ndarray]]:
    """`reduce(layer(*inputs))`, its gradients by the float inputs and by the trainable weights.

    Changes of the layer's other variables are kept, as in a training step. `reduce` can also be
    called while tracing.
    """
    if keras.backend.backend() == "jax":
        count = len(layer.trainable_variables)
        others = [v.value for v in layer.non_trainable_variables]

        import jax

        def function(*arrays):
            weights, rest = arrays[:count], arrays[count:]
            result, after = layer.stateless_call(list(weights), others, *rest, training=training)
            return reduce(result), after

        arrays = [v.value for v in layer.trainable_variables] + list(inputs)
        floats = [i for i, a in enumerate(arrays) if np.issubdtype(a.dtype, np.floating)]
        run = jax.value_and_grad(function, argnums=tuple(floats), has_aux=True)
        (value, after), found = (jax.jit(run) if compiled else run)(*arrays)
        for variable, new in zip(layer.non_trainable_variables, after, strict=True):
            variable.assign(new)
        gradients: list[Any] = [None] * len(arrays)
        for position, gradient in zip(floats, found, strict=True):
            gradients[position] = ops.convert_to_numpy(gradient)
        return ops.convert_to_numpy(value), gradients[count:], gradients[:count]
    import tensorflow as tf

    variables = [v.value for v in layer.trainable_variables]
    floats = [i for i, a in enumerate(inputs) if np.issubdtype(a.dtype, np.floating)]

    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch([tensors[i] for i in floats])
            value = reduce(layer(*tensors, training=training))
        wanted = [tensors[i] for i in floats] + variables
        return value, tape.gradient(
            value, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    tensors = [tf.convert_to_tensor(a) for a in inputs]
    value, found = (tf.function(run) if compiled else run)(*tensors)
    gradients = [None] * len(inputs)
    for position, gradient in zip(floats, found, strict=False):
        gradients[position] = ops.convert_to_numpy(gradient)
    return (
        ops.convert_to_numpy(value),
        gradients,
        [ops.convert_to_numpy(tf.convert_to_tensor(g)) for g in found[len(floats) :]],
    )
