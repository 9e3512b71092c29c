"""PReLU against its formula in float64, also for slopes outside [0, 1] and exact zeros."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from keras import ops

from gfkeras.layers import MaxPReLU, PReLU

# Real networks have slopes down to −1.5 and above 1.
SLOPES = np.array([0.25, -1.5, 2.4, 0.0, 1.0], "float32")


def case(shape, dtype="float32"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    x[rng.random(shape) < 0.1] = 0
    return x, rng.normal(size=shape).astype("float32")


def layer_of(slopes, shape, **arguments):
    layer = PReLU(shared_axes=[1, 2], **arguments)
    layer.build(shape)
    layer.alpha.assign(slopes.reshape(1, 1, -1))
    return layer


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 5), (7, 14, 9, 5)])
def test_values_and_gradients_are_the_formulas(shape, compiled):
    x, upstream = case(shape)
    layer = layer_of(SLOPES, shape)
    value, (by_x,), (by_slope,) = layer_value_and_gradients(
        layer, lambda y: ops.sum(y * upstream), x, training=True, compiled=compiled
    )
    wide, slopes, up = x.astype("float64"), SLOPES.astype("float64"), upstream.astype("float64")
    np.testing.assert_allclose(
        value, np.sum(up * np.where(wide > 0, wide, slopes * wide)), rtol=1e-4, atol=1e-4
    )
    # The derivative of Keras' relu(x) − α·relu(−x) is 0 at x = 0.
    slope_of_x = np.where(wide > 0, 1, np.where(wide < 0, slopes, 0))
    np.testing.assert_allclose(by_x, up * slope_of_x, rtol=1e-6, atol=0)
    expected = np.sum(up * np.minimum(wide, 0), axis=(0, 1, 2))
    magnitude = np.sum(np.abs(up * np.minimum(wide, 0)), axis=(0, 1, 2))
    assert (np.abs(by_slope.ravel() - expected) <= 1e-6 * magnitude + 1e-12).all()


def test_training_and_inference_give_the_exact_values_of_keras():
    x, _ = case((2, 3, 4, 5))
    layer = layer_of(SLOPES, x.shape)
    twin = keras.layers.PReLU(shared_axes=[1, 2])
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    expected = ops.convert_to_numpy(twin(x))
    for training in (False, True):
        result = ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the CPU form is only on TensorFlow"
)
@pytest.mark.parametrize(("policy", "digits"), [("mixed_bfloat16", 8), ("mixed_float16", 11)])
def test_the_slopes_gradient_is_summed_in_float32(policy, digits):
    # The sum has 16,384 equal terms. In bfloat16, it would stop growing after 256 terms.
    shape = (64, 16, 16, 2)
    x = np.full(shape, -0.5, "float32")
    layer = layer_of(np.array([0.25, 0.5], "float32"), shape, dtype=policy)
    _, _, (by_slope,) = layer_value_and_gradients(
        layer, lambda y: ops.sum(ops.cast(y, "float32")), x, training=True
    )
    np.testing.assert_allclose(by_slope.ravel(), [-8192, -8192], rtol=2.0**-digits)


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 5)])
def test_inputs_other_than_images(shape):
    x, upstream = case(shape)
    layer = PReLU(keras.initializers.Constant(0.5))
    layer.build(shape)
    _, (by_x,), (by_slope,) = layer_value_and_gradients(
        layer, lambda y: ops.sum(y * upstream), x, training=True
    )
    slope_of_x = np.where(x > 0, 1, np.where(x < 0, 0.5, 0))
    np.testing.assert_allclose(by_x, upstream * slope_of_x, rtol=1e-6)
    expected = np.sum(upstream * np.minimum(x, 0), axis=0)
    np.testing.assert_allclose(by_slope, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's tapes")
def test_second_derivative():
    import tensorflow as tf

    x, _ = case((2, 3, 4, 5))
    layer = layer_of(SLOPES, x.shape)
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(layer(x, training=True) ** 2)
        gradient = inner.gradient(y, x)
    second = outer.gradient(gradient, x).numpy()
    slope = np.where(x > 0, 1, np.where(x < 0, SLOPES, 0))
    np.testing.assert_allclose(second, 2 * slope**2, rtol=1e-5)


def test_the_maximum_is_prelu_up_to_a_slope_of_one_and_its_reflection_beyond():
    x, _ = case((3, 4, 5, 5))
    layer = MaxPReLU()
    layer.build(x.shape)
    layer.alpha.assign(SLOPES)
    sign = np.where(SLOPES > 1, -1, 1)
    expected = np.where(x > 0, x, SLOPES * x)
    np.testing.assert_array_equal(sign * ops.convert_to_numpy(layer(sign * x)), expected)
