"""Batch normalisation that trains faster on CPUs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.layers.cpu_training import trains_on_cpu

# Of what TensorFlow's kernel takes; statistics are float32 in all of them.
KERNEL_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable("gfkeras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, faster to train with TensorFlow on CPUs.

    y = γ·(x − mean)/√(variance + ε) + β, with the batch's statistics in training. Weights,
    configuration and results are Keras'; at inference, on JAX, on other devices,
    with `synchronized`, `renorm`, a mask or other inputs than images, so is the graph.
    Otherwise one TensorFlow op (`FusedBatchNormV3`) normalises, and one gives the
    gradients, where Keras has some thirty. Statistics are float32 under any dtype policy,
    the moving variance is that of the population, as in Keras.

    Args: those of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: (B, H, W, C), or as Keras' layer.
        training: whether the batch's statistics are used, and the moving ones updated.
        mask: as Keras' layer.

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
            and not (self.synchronized or self.renorm)
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
        # The op's variance is the unbiased estimate, Σ(x − mean)²/(n − 1); Keras divides by n.
        count = tf.cast(tf.size(inputs) // shape[0], tf.float32)
        variance = variance * ((count - 1) / count)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)
