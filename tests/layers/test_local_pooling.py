"""L2 pooling and local response normalisation against NumPy, at zeros and in float16."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import value_and_gradients
from keras import ops

from gfkeras.layers import L2Pooling2D, LocalResponseNormalization

X = np.random.default_rng(0).normal(size=(2, 4, 3, 6)).astype("float32")


def l2_pooled(x: np.ndarray, size: int) -> np.ndarray:
    edge = size // 2
    padded = np.pad(x.astype("float64"), ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.sqrt((windows**2).sum(axis=(-2, -1)))


def normalized(x: np.ndarray, depth: int, alpha: float, bias: float) -> np.ndarray:
    result = np.zeros(x.shape)
    for channel in range(x.shape[-1]):
        first, last = max(0, channel - depth // 2), channel + depth // 2 + 1
        total = (x[..., first:last].astype("float64") ** 2).sum(axis=-1)
        result[..., channel] = x[..., channel] / (bias + alpha / depth * total) ** 0.75
    return result


@pytest.mark.parametrize("size", [1, 3, 5])
def test_l2_pooling_is_the_norm_of_each_window(size):
    result = ops.convert_to_numpy(L2Pooling2D(size)(X))
    np.testing.assert_allclose(result, l2_pooled(X, size), rtol=1e-5)


def test_l2_pooling_has_finite_gradients_at_zero():
    zeros = np.zeros((1, 4, 4, 2), "float32")
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(L2Pooling2D()(x)), zeros)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("depth", "alpha", "bias"), [(5, 1e-4, 1.0), (3, 0.7, 2.0), (13, 1.0, 0.5)]
)
def test_local_response_normalization(depth, alpha, bias):
    layer = LocalResponseNormalization(depth, alpha, bias)
    result = ops.convert_to_numpy(layer(X))
    np.testing.assert_allclose(result, normalized(X, depth, alpha, bias), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layer", [L2Pooling2D, LocalResponseNormalization])
def test_squares_do_not_overflow_in_float16(layer, dtype_policy):
    dtype_policy("mixed_float16")
    result = layer()(np.full((1, 3, 3, 2), 1000, "float16"))
    assert keras.backend.standardize_dtype(result.dtype) == "float16"
    assert np.isfinite(ops.convert_to_numpy(result)).all()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: L2Pooling2D(2), "pool_size"),
        (lambda: LocalResponseNormalization(4), "depth"),
        (lambda: LocalResponseNormalization(alpha=-1), "alpha"),
    ],
)
def test_wrong_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received"):
        make()
