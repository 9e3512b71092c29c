"""Steps of an inversion: views of the image, gradients, compilation."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

BACKENDS = ("tensorflow", "jax")


def require_backend() -> None:
    """Raises ValueError on a Keras backend that inversion cannot use."""
    if (name := keras.backend.backend()) not in BACKENDS:
        raise ValueError(
            f"Inversion needs the Keras backend tensorflow or jax. Received: KERAS_BACKEND={name}"
        )


def value_and_gradient(function: Callable[..., Any], images: Any, *others: Any) -> Any:
    """Returns the terms that `function` returns with its loss, and its gradient by `images`."""
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
    """Returns a compiled step of a function of tensors.

    A TensorFlow graph captures the `variables` that it reads. For JAX they become arguments,
    because JAX would copy constants.
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

    # The step has no Python control flow that depends on tensors, so autograph is not needed.
    graph = tf.function(step, autograph=False)
    return lambda *arguments: graph(*(tf.convert_to_tensor(value) for value in arguments))


def view_matrix(
    size: int, resolution: int, shift: float = 0.0, mirrored: bool = False
) -> np.ndarray:
    """Returns a matrix (size, resolution) float32 that resamples one axis linearly.

    Its rows sum to 1, and beyond the border it repeats the last pixel. `shift` is in output pixels,
    towards the end of the axis. `mirrored` reverses the axis. Two such matrices make a view of an
    image. They work on every backend, and the gradient is a plain matrix product.
    """
    # The centers of pixels are at halves, so add 0.5 before scaling and subtract it afterwards.
    places = (np.arange(size) + 0.5 - shift) * (resolution / size) - 0.5
    if mirrored:
        places = resolution - 1 - places
    places = np.clip(places, 0, resolution - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, resolution - 1)
    matrix = np.zeros((size, resolution), np.float64)
    rows = np.arange(size)
    matrix[rows, lower] += 1 - (places - lower)
    matrix[rows, upper] += places - lower
    return matrix.astype(np.float32)


def seen_through(images: Any, rows: Any, columns: Any) -> Any:
    """Resamples images (B, R, R, C) to (B, S, S, C) by matrices (S, R) for rows and columns."""
    return ops.einsum("wv,bhvc->bhwc", columns, ops.einsum("hv,bvwc->bhwc", rows, images))


def draw_view(
    rng: np.random.Generator, size: int, resolution: int, shift: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the matrices of a random view: moved by up to `shift` pixels, mirrored half the time.

    Three numbers are always drawn, even if they are not needed. One setting then does not change
    the random numbers of another.
    """
    down, across, side = rng.random(3)
    return (
        view_matrix(size, resolution, (2 * down - 1) * shift),
        view_matrix(size, resolution, (2 * across - 1) * shift, mirror and side < 0.5),
    )
