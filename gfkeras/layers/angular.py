"""Unit vectors, cosines and angles, in float32 and with finite gradients everywhere."""

from typing import Any

import keras
from keras import ops

from gfkeras.layers.rows import DrawnRows, project_on_rows

# Squared norms below this are those of a zero vector: it has no direction, its
# cosines are 0 and its gradient stays finite.
MIN_SQUARED_NORM = 1e-12
# sin²θ below this is beyond the resolution of a float32 cosine. Values are exact there
# too; only what gradients divide by is kept from falling further.
MIN_SQUARED_SINE = 1e-7


def row_norms(vectors: Any) -> Any:
    """‖x‖ of each row of (..., D), as (..., 1) float32; at least 1e-6, so that zero rows divide."""
    squared = ops.sum(ops.square(ops.cast(vectors, "float32")), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(squared, MIN_SQUARED_NORM))


def unit_rows(vectors: Any) -> Any:
    """x / ‖x‖ of each row, (..., D) float32; a zero row stays zero."""
    vectors = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_NORM))


def project(vectors: Any, directions: Any) -> Any:
    """x · ŵ = ‖x‖·cos θ of vectors (A, D) and directions (..., D), as (A, ...) float32.

    Directions may be of any length, or `DrawnRows`; a zero row gives zeros.
    """
    shape = directions.shape
    if isinstance(directions, DrawnRows) and keras.backend.backend() == "tensorflow":
        products = project_on_rows(vectors, directions, MIN_SQUARED_NORM)
    else:
        if isinstance(directions, DrawnRows):
            directions = directions.as_array()
        # Dividing the products by ‖w‖ instead is a tenth faster with 100,000 directions on a
        # CPU, but its gradient holds two arrays of their size at once where this holds one.
        flat = ops.reshape(directions, (-1, shape[-1])) if len(shape) > 2 else directions
        products = ops.matmul(vectors, ops.transpose(unit_rows(flat)))
    return products if len(shape) == 2 else ops.reshape(products, (-1, *shape[:-1]))


def sine(cosine: Any) -> Any:
    """sin θ = √(1 − cos²θ) for θ in [0, π], from float32 cosines in [−1, 1].

    The derivative −cos θ / sin θ, infinite at 0 and π, is cut off where sin²θ < 1e-7.
    """

    @ops.custom_gradient
    def with_finite_gradient(cosine: Any) -> Any:
        # (1 − c)(1 + c) keeps the digits near ±1 that 1 − c² loses.
        squared = (1.0 - cosine) * (1.0 + cosine)
        return ops.sqrt(
            ops.maximum(squared, 0.0)
        ), lambda upstream: -upstream * cosine * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_SINE))

    return with_finite_gradient(cosine)


def arccos(cosine: Any) -> Any:
    """θ in [0, π], in radians, from float32 cosines; those outside [−1, 1] are taken as the ends.

    The derivative −1 / sin θ, infinite at 0 and π, is cut off where sin²θ < 1e-7.
    """

    @ops.custom_gradient
    def with_finite_gradient(cosine: Any) -> Any:
        clipped = ops.clip(cosine, -1.0, 1.0)
        squared = (1.0 - clipped) * (1.0 + clipped)
        return ops.arccos(
            clipped
        ), lambda upstream: -upstream * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_SINE))

    return with_finite_gradient(cosine)
