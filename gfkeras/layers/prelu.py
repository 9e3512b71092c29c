"""PReLU in a form that trains faster on CPUs, and as a maximum for int8."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gfkeras.layers.cpu_layers import trains_on_cpu, xla_compiles
from gfkeras.saving import Configured


@functools.cache
def _compiled_prelu(height: int, width: int, channels: int) -> Callable[[Any, Any], Any]:
    """Returns a function (x, α) → PReLU(x) of TensorFlow tensors.

    x is (B, height, width, channels), and α is (1, 1, channels) of the same dtype. The forward
    and the backward pass are one XLA cluster each, because separate TensorFlow ops would read
    and write the memory a dozen times.
    """
    import tensorflow as tf

    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)

    @compiled
    def forward(x: Any, alpha: Any) -> Any:
        return tf.where(x > 0, x, alpha * x)

    @compiled
    def backward(x: Any, alpha: Any, upstream: Any) -> tuple[Any, Any]:
        # The slope at exactly zero is zero, as in Keras' relu(x) − α·relu(−x).
        slope = tf.where(x > 0, tf.ones_like(x), tf.where(x < 0, alpha, tf.zeros_like(alpha)))
        by_place = tf.cast(tf.minimum(x, 0), tf.float32) * tf.cast(upstream, tf.float32)
        # XLA's loops are fastest along wide rows, and short sums lose fewer digits. So sum over
        # images and rows of pixels first, and then over the columns of each channel.
        rows = tf.reshape(by_place, (-1, width * channels))
        by_column = tf.reshape(tf.reduce_sum(rows, axis=0), (width, channels))
        by_channel = tf.reshape(tf.reduce_sum(by_column, axis=0), (1, 1, channels))
        return slope * upstream, tf.cast(by_channel, alpha.dtype)

    @tf.custom_gradient
    def differentiable(x: Any, alpha: Any) -> Any:
        return forward(x, alpha), lambda upstream: backward(x, alpha, upstream)

    def prelu(x: Any, alpha: Any) -> Any:
        # A function with a custom gradient takes tensors, so the variable is read here.
        return differentiable(x, tf.convert_to_tensor(alpha, x.dtype))

    return prelu


@keras.saving.register_keras_serializable("gfkeras")
class PReLU(keras.layers.PReLU):
    """`keras.layers.PReLU` that trains faster with TensorFlow on CPUs.

    f(x) = x for x > 0, and α·x elsewhere. Weights, configuration and results are those of Keras.
    In training on CPUs, with one slope per channel of an image, the forward and the backward
    pass are one XLA cluster each, and the slopes' gradient is summed in float32 under any dtype
    policy. In all other cases the graph is Keras' own.

    Args: those of `keras.layers.PReLU`.

    Call arguments:
        inputs: (B, H, W, C) with `shared_axes=[1, 2]`, or any input of Keras' layer.
        training: whether the layer trains.

    Returns:
        A tensor of the input's shape and dtype.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.PReLU(alpha_initializer="ones", shared_axes=[1, 2])
        >>> np.asarray(layer(np.full((1, 1, 1, 1), -2.0))).tolist()
        [[[[-2.0]]]]
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not (self._one_slope_per_channel(inputs) and trains_on_cpu(training) and xla_compiles()):
            return super().call(inputs)
        return _compiled_prelu(*inputs.shape[1:])(inputs, ops.cast(self.alpha, inputs.dtype))

    def _one_slope_per_channel(self, inputs: Any) -> bool:
        shape = inputs.shape
        return (
            len(shape) == 4
            and None not in tuple(shape)[1:]
            and tuple(self.alpha.shape) == (1, 1, shape[-1])
        )


@keras.saving.register_keras_serializable("gfkeras")
class MaxPReLU(Configured, keras.layers.Layer):
    """max(x, α·x) with one slope per channel: PReLU if α ≤ 1, and its reflection if α > 1.

    int8 runtimes have kernels for products and maxima, but none for PReLU.

    Args:
        alpha_initializer: initializer of the slopes.

    Call arguments:
        inputs: (..., C).

    Returns:
        (..., C).

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.MaxPReLU(alpha_initializer="ones")
        >>> np.asarray(layer(np.full((1, 1), -2.0))).tolist()
        [[-2.0]]
    """

    def __init__(self, alpha_initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.alpha = self.add_weight(
            name="alpha", shape=(input_shape[-1],), initializer=self.alpha_initializer
        )

    def call(self, inputs: Any) -> Any:
        return ops.maximum(inputs, inputs * self.alpha)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
