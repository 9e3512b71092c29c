"""Small rewrites of a network that remove training layers and slow operators."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.channels import ChannelScale
from gfkeras.export.preparation.network import Network, Node
from gfkeras.layers import MaxPReLU

_TRAINING_ONLY = (
    keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.AlphaDropout,
    keras.layers.GaussianDropout, keras.layers.GaussianNoise, keras.layers.ActivityRegularization,
    keras.layers.Identity,
)  # fmt: skip

# Smaller weights do not change any sum in a network, which float32 resolves much more coarsely.
# Denormals begin at 1.2e-38, and processors compute with them a hundred times slower.
SMALLEST = 1e-30


def drop_training_layers(network: Network) -> None:
    """Removes dropout, noise and layers that return their input."""
    for node in network:
        linear = (
            issubclass(node.layer, keras.layers.Activation)
            and node.config["activation"] == "linear"
        )
        if linear or issubclass(node.layer, _TRAINING_ONLY):
            network.remove(node.name)


def flush_denormals(network: Network) -> None:
    """Sets weights with an absolute value below 1e-30 to zero."""
    for node in network:
        weights = tuple(np.where(np.abs(w) < SMALLEST, 0.0, w) for w in node.weights)
        network.replace(node, weights=weights)


@keras.saving.register_keras_serializable("gfkeras")
class FixedFlatten(keras.layers.Flatten):
    """A `keras.layers.Flatten` that is one reshape to (-1, width).

    The layer of Keras reads the batch size at run time, which adds four float operators.
    """

    def call(self, inputs: Any) -> Any:
        return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))


def fix_flattening(network: Network) -> None:
    """Replaces `Flatten` by `FixedFlatten` if the size of the output is known."""
    for node in network:
        if node.layer is keras.layers.Flatten and None not in node.shape:
            network.replace(node, layer=FixedFlatten)


def rewrite_prelus(network: Network) -> None:
    """Replaces each PReLU with one slope per channel by max(x, α·x).

    The two are equal for α ≤ 1. For α > 1, PReLU is min(x, α·x) = −max(−x, −α·x). The signs of such
    a channel are changed before and after, and `fold_channels` moves them into other layers.
    """
    for node in network:
        if not issubclass(node.layer, keras.layers.PReLU):
            continue
        (alpha,) = node.weights
        if any(side != 1 for side in alpha.shape[:-1]):
            # The slopes differ between pixels, so no single sign fits a channel.
            continue
        alpha = alpha.reshape(-1)
        network.replace(node, layer=MaxPReLU, config={"dtype": "float32"}, weights=(alpha,))
        sign = np.where(alpha > 1, -1.0, 1.0)
        for suffix, source, reader in (
            ("in_sign", node.inputs[0], node.name),
            ("out_sign", node.name, None),
        ):
            turned = Node(f"{node.name}_{suffix}", ChannelScale, {"dtype": "float32"}, (sign,))
            network.insert(turned, source, reader)


@keras.saving.register_keras_serializable("gfkeras")
class PixelDense(keras.layers.Dense):
    """A `keras.layers.Dense` over the channels of each pixel, (B, H, W, C), as one matrix product.

    If the batch size is open, the layer of Keras computes shapes at run time, which takes ten
    operators in a .tflite file.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        _, height, width, channels = inputs.shape
        pixels = super().call(ops.reshape(inputs, (-1, channels)), training=training)
        return ops.reshape(pixels, (-1, height, width, self.units))


def pointwise_as_dense(network: Network) -> None:
    """Turns 1×1 convolutions without strides into dense layers over the channels of each pixel.

    Only the fully connected operator of XNNPACK multiplies int8 and int4 weights by float pixels,
    with a scale for each pixel. A convolution with such weights does not run in XNNPACK, or has one
    scale for a whole image.
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
