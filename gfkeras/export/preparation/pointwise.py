"""Pointwise convolutions as products of pixels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.export.preparation.network import Network


@keras.saving.register_keras_serializable("gfkeras")
class PixelDense(keras.layers.Dense):
    """`keras.layers.Dense` over the channels of each pixel, as one product of two matrices.

    Keras' own computes the shape of its result while it runs if the batch is open, which takes
    ten operators of a .tflite.

    Call arguments:
        inputs: (B, H, W, C), of which H and W are known.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        _, height, width, channels = inputs.shape
        pixels = super().call(ops.reshape(inputs, (-1, channels)), training=training)
        return ops.reshape(pixels, (-1, height, width, self.units))


def pointwise_as_dense(network: Network) -> None:
    """A convolution of 1×1 without strides is a dense layer over the channels of each pixel.

    XNNPACK multiplies int8 and int4 weights by float pixels in its fully connected operator alone
    (activations rounded pixel by pixel); a convolution with such weights leaves XNNPACK or
    rounds a whole image with one scale.
    """
    for node in network:
        if not issubclass(node.layer, keras.layers.Conv2D):
            continue
        config, (kernel, *bias) = node.config, node.weights
        if (
            tuple(config["kernel_size"]) == tuple(config["strides"]) == (1, 1)
            and config["groups"] == 1
            and config["data_format"] == "channels_last"
            and config["activation"] in (None, "linear")
        ):
            arguments = {"units": config["filters"], "use_bias": config["use_bias"]}
            network.replace(node, layer=PixelDense, config=arguments, weights=(kernel[0, 0], *bias))
