"""1×1 convolutions as matrix products in training, against sums in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from keras import ops

from gfkeras.layers import Conv2D


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 7), (7, 3), (4, 4)])
def test_values_and_gradients_of_a_product(inputs, outputs, compiled):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5, inputs)).astype("float32")
    upstream = rng.normal(size=(2, 3, 5, outputs)).astype("float32")
    layer = Conv2D(outputs, 1, use_bias=False, activation="tanh")
    layer.build(x.shape)
    value, (by_x,), (by_kernel,) = layer_value_and_gradients(
        layer, lambda y: ops.sum(y * upstream), x, training=True, compiled=compiled
    )
    kernel = ops.convert_to_numpy(layer.kernel)[0, 0].astype("float64")
    y = np.tanh(x.astype("float64") @ kernel)
    by_product = upstream * (1 - y**2)
    np.testing.assert_allclose(value, np.sum(y * upstream), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_x, by_product @ kernel.T, rtol=1e-4, atol=1e-5)
    expected = np.einsum("bhwi,bhwo->io", x, by_product)
    np.testing.assert_allclose(by_kernel[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 1, "use_bias": True, "bias_initializer": "ones"},
        {"kernel_size": 1, "groups": 2},
        {"kernel_size": 3, "padding": "same"},
    ],
)
def test_other_convolutions_agree_with_keras(arguments):
    arguments = {"filters": 4, "use_bias": False, **arguments}
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 6)).astype("float32")
    layer, twin = Conv2D(**arguments), keras.layers.Conv2D(**arguments)
    layer.build(x.shape), twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    results = [ops.convert_to_numpy(y) for y in (layer(x, training=True), twin(x))]
    np.testing.assert_array_equal(*results)
