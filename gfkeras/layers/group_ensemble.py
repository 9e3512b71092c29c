"""The ensemble of group-aware representations of GroupFace."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range, one_of, positive_int
from gfkeras.layers.checks import Shape
from gfkeras.saving import Configured

MODES = ("soft", "hard")
HARD_GRADIENTS = ("straight-through", "stopped")


def group_weights(group_logits: Any, mode: str, hard_gradient: str) -> Any:
    """Returns the weight of each group's representation in the ensemble, (B, K) float32.

    soft: p = softmax(logits). hard: the one-hot vector of argmax p, which is **not** scaled by
    p. Its gradient to the logits is that of p ("straight-through") or none ("stopped").
    """
    probabilities = ops.softmax(ops.cast(group_logits, "float32"), axis=-1)
    if mode == "soft":
        return probabilities
    winner = ops.argmax(probabilities, axis=-1)
    chosen = ops.one_hot(winner, probabilities.shape[-1], dtype="float32")
    if hard_gradient == "straight-through":
        # The bracket is exactly zero in the forward pass, so the value stays exactly one-hot.
        return chosen + (probabilities - ops.stop_gradient(probabilities))
    return ops.stop_gradient(chosen)


class _EachGroup(keras.initializers.Initializer):
    """An initializer of (K, F, D) that draws each group's FC (F, D) by itself.

    Keras would take the whole shape for a convolution's, and scale it by other fans.
    """

    # This must be a class. With `keras.distribution` on JAX, Keras compiles the `__call__` of
    # initializers of large variables, and that fails for a plain function.

    def __init__(self, initializer: keras.initializers.Initializer):
        self.initializer = initializer

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        initializer = self.initializer
        groups = []
        for _ in range(shape[0]):
            groups.append(initializer(shape[1:], dtype=dtype))
            initializer = initializer.clone()
        return ops.stack(groups)


@keras.saving.register_keras_serializable("gfkeras")
class GroupEnsemble(Configured, keras.layers.Layer):
    """K group FCs and their soft or hard combination v^G.

    Soft (S-GroupFace): v^G = Σ_k p_k·v^{G_k}. Hard (H-GroupFace): v^G is the v^{G_k} with
    the largest p_k (arXiv 2005.10497, equations 4 and 5). You can change `mode` at any time,
    since both use the same weights.

    Both are one matrix product, (w ⊗ x) · W with W of shape (K·F, D). So a batch's K
    representations are never in memory at once. In hard mode, the groups that were not chosen
    contribute only zeros. Exported artefacts compute the chosen group's FC alone
    (`gfkeras.export`).

    Args:
        num_groups: K.
        embedding_dim: D, the width of each representation.
        mode: "soft" or "hard".
        hard_gradient: the gradient through the argmax in hard mode: "straight-through" passes
            the soft gradient to the group decision, and "stopped" passes none.
        kernel_initializer: initializer of each group's (F, D) part of the kernel (K, F, D).
        scale: α, which multiplies v^G, at least 0. You can change it at any time, like `mode`.

    Call arguments:
        feature: (B, F), the shared feature.
        group_logits: (B, K).

    Returns:
        v^G, (B, D) float32.
    """

    def __init__(
        self,
        num_groups: int,
        embedding_dim: int,
        mode: str = "soft",
        hard_gradient: str = "straight-through",
        kernel_initializer: Any = "glorot_uniform",
        scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_groups = positive_int("num_groups", num_groups)
        self.embedding_dim = positive_int("embedding_dim", embedding_dim)
        self.mode = one_of("mode", mode, MODES)
        self.hard_gradient = one_of("hard_gradient", hard_gradient, HARD_GRADIENTS)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.scale = in_range("scale", scale, 0, math.inf)

    def build(self, feature_shape: Shape, group_logits_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_groups, feature_shape[-1], self.embedding_dim),
            initializer=_EachGroup(self.kernel_initializer),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.num_groups, self.embedding_dim), initializer="zeros"
        )

    def call(self, feature: Any, group_logits: Any) -> Any:
        weights = group_weights(group_logits, self.mode, self.hard_gradient)
        weights = ops.cast(weights, feature.dtype)
        weighted = ops.expand_dims(weights, -1) * ops.expand_dims(feature, 1)
        width = self.num_groups * feature.shape[-1]
        kernel = ops.reshape(self.kernel, (width, self.embedding_dim))
        ensemble = ops.matmul(ops.reshape(weighted, (-1, width)), kernel)
        return self.scale * ops.cast(ensemble + ops.matmul(weights, self.bias), "float32")

    def compute_output_spec(self, feature: Any, group_logits: Any) -> keras.KerasTensor:
        return keras.KerasTensor((feature.shape[0], self.embedding_dim), dtype="float32")
