"""Convolution and batch normalization that train faster on CPUs."""

import functools
from typing import Any

import keras
from keras import ops

from gfkeras.layers.replica import num_replicas


def trains_on_cpu(training: Any) -> bool:
    """Whether a layer that is called now trains with TensorFlow's own CPU kernels.

    It is False on JAX, at inference, if TensorFlow can use a device other than a CPU, and in a
    step that XLA compiles as a whole (`compile(jit_compile=True)`). At inference the graph is
    always Keras', so exported and saved models contain only Keras' operations. XLA fuses
    operations itself, and computes a batch's variance as E[x²] − E[x]², which loses digits.

    This only asks for the visible devices, so it does not initialise or claim any.
    """
    if not training or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if any(device.device_type != "CPU" for device in tf.config.get_visible_devices()):
        return False
    try:
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        return False
    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


@functools.cache
def xla_compiles() -> bool:
    """Whether this build of TensorFlow can compile functions for CPUs. Some cannot."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def double(x: Any) -> Any:
        return x + x

    try:
        with tf.init_scope(), tf.device("CPU"):
            return float(double(tf.ones(()))) == 2.0
    except (tf.errors.OpError, ValueError):
        return False


def pointwise_product(x: Any, kernel: Any) -> Any:
    """Returns a 1×1 convolution of x (B, H, W, I), kernel (1, 1, I, O), as a matrix product.

    TensorFlow multiplies tall matrices fastest if the narrower one comes first. In the kernel's
    gradient, the narrower one is the input or the output's gradient. The form of the forward
    product decides their order.
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
    """`keras.layers.Conv2D` with 1×1 kernels that train faster with TensorFlow on CPUs.

    Weights, configuration and results are those of Keras. The graph differs only in training,
    for 1×1 convolutions with stride 1 and without bias: these become matrix products, because
    TensorFlow's convolution needs half as long again for the kernel's gradient.

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


# Dtypes of TensorFlow's kernel. Its statistics are float32 with each of them.
KERNEL_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable("gfkeras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that trains faster with TensorFlow on CPUs.

    y = γ·(x − mean)/√(variance + ε) + β, with the batch's statistics in training. Weights,
    configuration and results are those of Keras. In training on CPUs, one TensorFlow op
    (`FusedBatchNormV3`) normalises and one computes the gradients, while Keras uses about
    thirty. The graph is Keras' own at inference, on JAX, on other devices, with `renorm`, with a
    mask, for inputs that are not images, and if `synchronized` over several replicas.
    Statistics are float32 under any dtype policy. The moving variance is the population
    variance, as in Keras.

    Args: those of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: (B, H, W, C), or any input of Keras' layer.
        training: whether to use the batch's statistics and to update the moving ones.
        mask: as in Keras' layer.

    Returns:
        A tensor of the input's shape, in the layer's compute dtype.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.BatchNormalization()
        >>> tuple(layer(np.random.rand(8, 4, 4, 3), training=True).shape)
        (8, 4, 4, 3)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (
            self.trainable
            and mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.renorm
            and not (self.synchronized and num_replicas() > 1)
            and keras.backend.standardize_dtype(inputs.dtype) in KERNEL_DTYPES
            and trains_on_cpu(training)
        ):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        shape = (inputs.shape[-1],)
        gamma = ops.convert_to_tensor(self.gamma) if self.scale else tf.ones(shape)
        beta = ops.convert_to_tensor(self.beta) if self.center else tf.zeros(shape)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The op's variance is the unbiased estimate, Σ(x − mean)²/(n − 1). Keras divides by n.
        count = tf.cast(tf.size(inputs) // shape[0], tf.float32)
        variance = variance * ((count - 1) / count)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)
