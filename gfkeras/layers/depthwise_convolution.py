"""A depthwise convolution that trains faster on CPUs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gfkeras.layers.cpu_training import trains_on_cpu


@functools.cache
def _same_depthwise() -> Callable[[Any, Any], Any]:
    """(x, kernel) → depthwise convolution, stride 1, "same", of an odd square kernel.

    The gradient by x is the same convolution of the output's gradient with the kernel
    turned by 180°, which TensorFlow computes twice as fast forward as backward.
    """
    import tensorflow as tf

    def convolution(x: Any, kernel: Any) -> Any:
        return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "SAME")

    @tf.custom_gradient
    def depthwise(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            by_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=x,
                filter_sizes=tf.shape(kernel),
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            return convolution(upstream, tf.reverse(kernel, (0, 1))), by_kernel

        return convolution(x, kernel), gradient

    return depthwise


@keras.saving.register_keras_serializable("gfkeras")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, faster to train with TensorFlow on CPUs."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not (self._turns() and trains_on_cpu(training)):
            return super().call(inputs)
        return self.activation(_same_depthwise()(inputs, ops.convert_to_tensor(self.kernel)))

    def _turns(self) -> bool:
        return (
            self.strides == (1, 1)
            and self.dilation_rate == (1, 1)
            and self.kernel_size in ((3, 3), (5, 5))
            and self.padding == "same"
            and self.depth_multiplier == 1
            and not self.use_bias
            and self.data_format == "channels_last"
        )
