"""Layers of a folded head that compute the group ensemble."""

import math
from typing import Any

import keras

from gfkeras.saving import Configured

# Size in bytes. ai-edge-quantizer 0.10 splits larger constants, and fails if they have three axes.
_LARGEST_QUANTISED = 32 * 2**20


class _GroupProduct(Configured, keras.layers.Layer):
    """K group FCs with one `kernel` and a `bias`, (K, D).

    The inputs are a feature, (B, F), and group logits, (B, K). The output is (B, D).
    """

    def __init__(self, embedding_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim

    def build(self, feature_shape: Any, group_logits_shape: Any) -> None:
        groups = group_logits_shape[-1]
        shape = self.kernel_shape(groups, feature_shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=shape)
        self.bias = self.add_weight(name="bias", shape=(groups, self.embedding_dim))

    def kernel_shape(self, groups: int, features: int) -> tuple[int, ...]:
        raise NotImplementedError

    def compute_output_shape(self, feature_shape: Any, group_logits_shape: Any) -> Any:
        return (*feature_shape[:1], self.embedding_dim)


@keras.saving.register_keras_serializable("gfkeras")
class ChosenGroupProduct(_GroupProduct):
    """x·W_k + b_k of the group with the largest logit. The other groups are not computed.

    The kernel is (K, D, F): each group is contiguous in memory, and each output is a dot product
    over contiguous values. It is the fastest form in docs/export.md that takes any batch size.
    """

    def kernel_shape(self, groups: int, features: int) -> tuple[int, ...]:
        return groups, self.embedding_dim, features

    def call(self, feature: Any, group_logits: Any) -> Any:
        import tensorflow as tf

        # keras.ops.argmax would use BitwiseAnd, which TFLite does not have.
        group = tf.math.argmax(group_logits, axis=-1, output_type=tf.int32)
        kernel = tf.convert_to_tensor(self.kernel)
        _, dim, features = kernel.shape
        if 4 * math.prod(kernel.shape) > _LARGEST_QUANTISED:
            rows = tf.gather(tf.reshape(kernel, (-1, dim * features)), group)
            chosen = tf.reshape(rows, (-1, dim, features))
        else:
            chosen = tf.gather(kernel, group)
        product = tf.matmul(tf.expand_dims(feature, 1), chosen, transpose_b=True)
        return tf.squeeze(product, axis=1) + tf.gather(tf.convert_to_tensor(self.bias), group)


@keras.saving.register_keras_serializable("gfkeras")
class WeightedGroupsProduct(_GroupProduct):
    """Σ p_k·(x·W_k + b_k) as one product (p ⊗ x)·W, with a kernel of (K·F, D)."""

    def kernel_shape(self, groups: int, features: int) -> tuple[int, ...]:
        return groups * features, self.embedding_dim

    def call(self, feature: Any, group_logits: Any) -> Any:
        import tensorflow as tf

        p = tf.nn.softmax(group_logits, axis=-1)
        weighted = tf.expand_dims(p, 2) * tf.expand_dims(feature, 1)
        weighted = tf.reshape(weighted, (-1, self.kernel.shape[0]))
        return tf.matmul(weighted, tf.convert_to_tensor(self.kernel)) + tf.matmul(
            p, tf.convert_to_tensor(self.bias)
        )
