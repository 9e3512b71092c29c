"""A convolution whose 1×1 form trains faster on CPUs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.layers.cpu_training import trains_on_cpu


def pointwise_product(x: Any, kernel: Any) -> Any:
    """A 1×1 convolution as a matrix product.

    TensorFlow's matrix products of tall matrices are fastest where the narrower one comes
    first. In the kernel's gradient that is the input or the output's gradient, which the
    form of the product chooses here.

    Args:
        x: (B, H, W, I), its height, width and channels known.
        kernel: (1, 1, I, O).

    Returns:
        (B, H, W, O).
    """
    import tensorflow as tf

    _, height, width, inputs = x.shape
    outputs = kernel.shape[-1]
    rows, matrix = ops.reshape(x, (-1, inputs)), ops.reshape(kernel, (inputs, outputs))
    if inputs > outputs:
        product = tf.matmul(rows, tf.transpose(matrix), transpose_b=True)
    else:
        product = tf.matmul(rows, matrix)
    return ops.reshape(product, (-1, height, width, outputs))


@keras.saving.register_keras_serializable("gfkeras")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, whose 1×1 form trains faster with TensorFlow on CPUs.

    Weights, configuration and results are Keras'; so is the graph but in training 1×1
    convolutions of stride 1 without bias, which there are matrix products: the gradient of
    the kernel takes TensorFlow's convolution half as long again.

    Args: those of `keras.layers.Conv2D`.

    Call arguments:
        inputs: (B, H, W, C).
        training: whether the layer trains.

    Returns:
        (B, H', W', filters) in the layer's compute dtype.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.Conv2D(8, 1, use_bias=False)
        >>> tuple(layer(np.zeros((2, 4, 4, 3)), training=True).shape)
        (2, 4, 4, 8)
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not (self._is_product(inputs) and trains_on_cpu(training)):
            return super().call(inputs)
        return self.activation(pointwise_product(inputs, ops.convert_to_tensor(self.kernel)))

    def _is_product(self, inputs: Any) -> bool:
        return (
            self.kernel_size == (1, 1)
            and self.strides == (1, 1)
            and self.groups == 1
            and not self.use_bias
            and self.data_format == "channels_last"
            and len(inputs.shape) == 4
            and None not in tuple(inputs.shape)[1:]
        )
