"""Unit vectors, cosines and angles in float32, with finite gradients everywhere."""

from typing import Any

import keras
from keras import ops

from gfkeras.layers.rows import DrawnRows, project_on_rows

# A vector with a smaller squared norm counts as a zero vector. It has no direction, so its
# cosines are 0 and its gradient stays finite.
MIN_SQUARED_NORM = 1e-12
# A float32 cosine cannot resolve a smaller sin²θ. The bound applies only to the divisor in
# gradients. Values stay exact below it.
MIN_SQUARED_SINE = 1e-7


def row_norms(vectors: Any) -> Any:
    """Returns ‖x‖ of each row of (..., D), (..., 1) float32, at least 1e-6 to divide safely."""
    squared = ops.sum(ops.square(ops.cast(vectors, "float32")), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(squared, MIN_SQUARED_NORM))


def unit_rows(vectors: Any) -> Any:
    """Returns x / ‖x‖ of each row, (..., D) float32. A zero row stays zero."""
    vectors = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_NORM))


def project(vectors: Any, directions: Any) -> Any:
    """Returns x · ŵ = ‖x‖·cos θ for vectors (A, D) and directions (..., D), (A, ...) float32.

    Directions can have any length, and can be `DrawnRows`. A zero row gives zeros.
    """
    shape = directions.shape
    if isinstance(directions, DrawnRows) and keras.backend.backend() == "tensorflow":
        products = project_on_rows(vectors, directions, MIN_SQUARED_NORM)
    else:
        if isinstance(directions, DrawnRows):
            directions = directions.as_array()
        # Dividing the products by ‖w‖ instead is a tenth faster with 100,000 directions on a
        # CPU. Its gradient needs two arrays of that size at once, and this one needs one.
        flat = ops.reshape(directions, (-1, shape[-1])) if len(shape) > 2 else directions
        products = ops.matmul(vectors, ops.transpose(unit_rows(flat)))
    return products if len(shape) == 2 else ops.reshape(products, (-1, *shape[:-1]))


def sine(cosine: Any) -> Any:
    """Returns sin θ = √(1 − cos²θ) for θ in [0, π], from float32 cosines in [−1, 1].

    The derivative −cos θ / sin θ is infinite at 0 and π. It is bounded where sin²θ < 1e-7.
    """

    @ops.custom_gradient
    def with_finite_gradient(cosine: Any) -> Any:
        # Near ±1, (1 − c)(1 + c) keeps digits that 1 − c² loses.
        squared = (1.0 - cosine) * (1.0 + cosine)
        return ops.sqrt(
            ops.maximum(squared, 0.0)
        ), lambda upstream: -upstream * cosine * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_SINE))

    return with_finite_gradient(cosine)


def arccos(cosine: Any) -> Any:
    """Returns θ in [0, π], in radians, from float32 cosines, which are clipped to [−1, 1].

    The derivative −1 / sin θ is infinite at 0 and π. It is bounded where sin²θ < 1e-7.
    """

    @ops.custom_gradient
    def with_finite_gradient(cosine: Any) -> Any:
        clipped = ops.clip(cosine, -1.0, 1.0)
        squared = (1.0 - clipped) * (1.0 + clipped)
        return ops.arccos(
            clipped
        ), lambda upstream: -upstream * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_SINE))

    return with_finite_gradient(cosine)
