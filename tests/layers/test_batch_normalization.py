"""Batch normalisation against its formula in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from keras import ops

from gfkeras.layers import BatchNormalization

EPSILON, MOMENTUM = 1e-5, 0.8


def oracle(x, upstream, gamma, beta):
    """Returns output, gradients by x, γ and β, and the batch's statistics, in float64."""
    x, upstream = x.astype("float64"), upstream.astype("float64")
    axes = (0, 1, 2)
    mean, variance = x.mean(axes), x.var(axes)
    scale = 1 / np.sqrt(variance + EPSILON)
    unit = (x - mean) * scale
    by_unit = upstream * gamma
    by_x = scale * (by_unit - by_unit.mean(axes) - unit * (by_unit * unit).mean(axes))
    gradients = by_x, (upstream * unit).sum(axes), upstream.sum(axes)
    return unit * gamma + beta, gradients, (mean, variance)


def built(shape, gamma, beta, **arguments):
    layer = BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, **arguments)
    layer.build(shape)
    if layer.scale:
        layer.gamma.assign(gamma)
    if layer.center:
        layer.beta.assign(beta)
    return layer


def case(shape, offset=0.0):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) + offset).astype("float32")
    return x, rng.normal(size=shape), rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (16, 7, 7, 12)])
def test_training_is_the_formula(shape, compiled, offset):
    x, upstream, gamma, beta = case(shape, offset)
    layer = built(shape, gamma, beta)
    y, gradients, (mean, variance) = oracle(x, upstream, gamma, beta)
    weights = upstream.astype("float32")
    value, (by_x,), (by_gamma, by_beta) = layer_value_and_gradients(
        layer, lambda y: ops.sum(y * weights), x, training=True, compiled=compiled
    )
    tolerance = {"rtol": 1e-4, "atol": 2e-5 * (1 + offset)}
    np.testing.assert_allclose(value, np.sum(y * upstream), rtol=1e-3, atol=1e-2)
    for got, expected in zip((by_x, by_gamma, by_beta), gradients, strict=True):
        np.testing.assert_allclose(got, expected, **tolerance)
    moving = [(1 - MOMENTUM) * mean, MOMENTUM + (1 - MOMENTUM) * variance]
    for variable, expected in zip((layer.moving_mean, layer.moving_variance), moving, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"axis": 3}])
def test_options_agree_with_keras(options):
    shape = (4, 3, 3, 6)
    x, _, gamma, beta = case(shape)
    layer = built(shape, gamma, beta, **options)
    twin = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, **options)
    twin.build(shape)
    twin.set_weights(layer.get_weights())
    results = [ops.convert_to_numpy(each(x, training=True)) for each in (layer, twin)]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
    for a, b in zip(layer.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_are_float32_in_mixed_precision(policy):
    shape = (16, 8, 8, 4)
    x, upstream, gamma, beta = case(shape, 4.0)
    layer = built(shape, gamma, beta, dtype=policy)
    narrow = ops.cast(x, layer.compute_dtype)
    x = ops.convert_to_numpy(ops.cast(narrow, "float32"))
    expected, _, (mean, variance) = oracle(x, upstream, gamma, beta)
    y = layer(narrow, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, expected, rtol=2**-7, atol=2**-7)
    found = [ops.convert_to_numpy(v) for v in (layer.moving_mean, layer.moving_variance)]
    np.testing.assert_allclose(found[0], (1 - MOMENTUM) * mean, rtol=1e-4)
    np.testing.assert_allclose(found[1], MOMENTUM + (1 - MOMENTUM) * variance, rtol=1e-4)


def test_a_frozen_layer_uses_and_keeps_the_moving_statistics():
    shape = (4, 3, 3, 2)
    x, _, gamma, beta = case(shape)
    layer = built(shape, gamma, beta)
    layer.trainable = False
    result = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(result, gamma * x / np.sqrt(1 + EPSILON) + beta, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(2))


def test_one_pixel_has_no_variance():
    layer = built((1, 1, 1, 3), np.ones(3), np.full(3, 0.5))
    x = np.array([1.0, 2.0, -3.0], "float32").reshape(1, 1, 1, 3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)).ravel(), 0.5)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_variance), MOMENTUM, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only on TensorFlow")
def test_synchronized_on_one_replica_is_the_formula():
    shape = (4, 3, 3, 2)
    x, _, gamma, beta = case(shape)
    layer = built(shape, gamma, beta, synchronized=True)
    y, _, _ = oracle(x, x, gamma, beta)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), y, atol=1e-5)
