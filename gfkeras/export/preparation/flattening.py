"""Flattening of a model into one network of plain layers, and folding of GroupFace's head."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.network import IMAGES, Network, Node, append, network_of
from gfkeras.models import GroupFace
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


@dataclass(frozen=True, slots=True)
class Affine:
    """The map y = x·kernel + bias, with a kernel of shape (inputs, outputs).

    Both are float64. A chain of maps is rounded to float32 only once, at its end.
    """

    kernel: np.ndarray
    bias: np.ndarray

    @classmethod
    def of_dense(cls, layer: Any) -> Affine:
        """Returns the map of a linear `keras.layers.Dense`."""
        kernel = _float64(layer.kernel)
        bias = _float64(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
        return cls(kernel, bias)

    def then(self, following: Affine) -> Affine:
        """Returns this map followed by another: x·(W₁W₂) + (b₁W₂ + b₂)."""
        return Affine(self.kernel @ following.kernel, self.bias @ following.kernel + following.bias)

    def then_normalized(self, layer: Any) -> Affine:
        """Returns this map followed by a `keras.layers.BatchNormalization` at inference."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale, self.bias * scale + shift)

    def normalized_first(self, layer: Any) -> Affine:
        """Returns a `keras.layers.BatchNormalization` at inference followed by this map."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale[:, None], self.bias + shift @ self.kernel)


def normalization(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scale, shift) of a batch normalisation at inference: x·scale + shift."""
    mean = _float64(layer.moving_mean)
    scale = 1.0 / np.sqrt(_float64(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * _float64(layer.gamma)
    shift = -mean * scale
    if layer.center:
        shift = shift + _float64(layer.beta)
    return scale, shift


def _float64(variable: Any) -> np.ndarray:
    return ops.convert_to_numpy(variable.value).astype(np.float64)


@dataclass(frozen=True, slots=True)
class FoldedHead:
    """The head of a GroupFace as a few affine maps of the feature x.

    Attributes:
        shared: backbone feature → x, or None if x is the backbone's feature.
        instance: x → v, (F, D), or None with combine="add", which adds it to `group_kernel`.
        decision_input: x (v if `instance` is not None) → first hidden layer of the group decision
            network, including its first batch normalisation.
        decision_output: hidden layer → v̂, including the second batch normalisation.
        classifier: v̂ → group logits.
        group_kernel: (K, F, D) float32.
        group_bias: (K, D) float32.
    """

    shared: Affine | None
    instance: Affine | None
    decision_input: Affine
    decision_output: Affine
    classifier: Affine
    group_kernel: np.ndarray
    group_bias: np.ndarray


def fold(model: GroupFace) -> FoldedHead:
    """Combines consecutive linear layers of a GroupFace's head.

    - With combine="add", the instance FC is added to each group's FC: W'_k = W_I + W_k gives
      v̄ = x·W'_k in one product. This also holds for the soft ensemble because Σ p_k = 1.
    - Every batch normalisation is folded into the FC next to it.
    - After that, only the group decision network needs v. No nonlinearity is between v and its
      first FC, so the two become one FC of shape (F, group_dim).
    - The shared FC is also linear at inference. If the backbone's feature is not wider than x, the
      shared FC is folded into all layers behind it. shared_dim=4096 then costs an artefact nothing.

    Products are computed in float64 and rounded once. The model does not change.
    """
    layer = model.get_layer
    kernel, bias = (
        model.group_scale * ops.convert_to_numpy(v.value)
        for v in (model.ensemble.kernel, model.ensemble.bias)
    )
    instance = Affine.of_dense(layer("instance_fc")).then_normalized(layer("instance_bn"))
    shared = None
    if model.shared_dim is not None:
        shared = Affine.of_dense(layer("shared_fc")).then_normalized(layer("shared_bn"))
    absorbed = None
    # Folding a wider feature would make every group's kernel larger than before.
    if shared is not None and shared.kernel.shape[0] <= shared.kernel.shape[1]:
        absorbed, shared = shared, None
    added = model.combine == "add"
    groups = [_group(kernel[k], bias[k], instance if added else None, absorbed)
              for k in range(model.num_groups)]  # fmt: skip
    if absorbed is not None:
        instance = absorbed.then(instance)
    decision = layer("group_decision")
    decision_input = Affine.of_dense(decision.fc1).normalized_first(decision.bn1)
    return FoldedHead(
        shared=shared,
        instance=None if added else instance,
        decision_input=instance.then(decision_input) if added else decision_input,
        decision_output=Affine.of_dense(decision.fc2).normalized_first(decision.bn2),
        classifier=Affine.of_dense(decision.classifier),
        group_kernel=np.stack([group_kernel for group_kernel, _ in groups]),
        group_bias=np.stack([group_bias for _, group_bias in groups]),
    )


def _group(
    kernel: np.ndarray, bias: np.ndarray, instance: Affine | None, absorbed: Affine | None
) -> tuple[np.ndarray, np.ndarray]:
    """Folds one group's FC. All K of them in float64 would need too much memory at once."""
    group = Affine(kernel.astype(np.float64), bias.astype(np.float64))
    if instance is not None:
        group = Affine(group.kernel + instance.kernel, group.bias + instance.bias)
    if absorbed is not None:
        group = absorbed.then(group)
    return group.kernel.astype(np.float32), group.bias.astype(np.float32)


def flattened(model: keras.Model, mode: str | None = None) -> Network:
    """Returns a model's layers as one network with the outputs of an artefact, or NotRewritable.

    The head of a GroupFace is folded (`fold`), and its instance embedding is not an output.
    """
    if not isinstance(model, GroupFace):
        return network_of(model)
    network = Network(tuple(model.input_shape[1:]))
    (feature,) = append(network, model.backbone, (IMAGES,))
    head = fold(model)
    nonlinearity = model.get_layer("group_decision").nonlinearity

    def dense(affine: Affine | None, name: str, source: str) -> str:
        if affine is None:
            return source
        config = {"units": affine.kernel.shape[1], "dtype": "float32"}
        weights, shape = (affine.kernel, affine.bias), affine.bias.shape
        return network.add(Node(name, keras.layers.Dense, config, weights, (source,), shape))

    feature = dense(head.shared, "shared", feature)
    # The instance embedding, or the feature itself if the instance FC was folded.
    source = dense(head.instance, "instance", feature)
    hidden = dense(head.decision_input, "decision_input", source)
    node = Node.of(nonlinearity, (hidden,), network.nodes[hidden].shape)
    hidden = network.add(replace(node, name="decision_nonlinearity"))
    group_feature = dense(head.decision_output, "group_feature", hidden)
    group_logits = dense(head.classifier, "group_logits", group_feature)
    embedding = network.add(_ensemble(head, mode or model.mode, feature, group_logits))
    if head.instance is not None:
        joined = Node("embedding", keras.layers.Concatenate, {"dtype": "float32"}, listed=True)
        shape = (2 * model.embedding_dim,)
        embedding = network.add(replace(joined, inputs=(source, embedding), shape=shape))
    network.outputs = {"embedding": embedding, "group_feature": group_feature}
    network.outputs["group_logits"] = group_logits
    return network


def _ensemble(head: Any, mode: str, feature: str, group_logits: str) -> Node:
    kernel, bias = head.group_kernel, head.group_bias
    dim = bias.shape[1]
    hard = mode == "hard"
    return Node(
        "group_ensemble",
        ChosenGroupProduct if hard else WeightedGroupsProduct,
        {"embedding_dim": dim, "dtype": "float32"},
        (
            # Each layer of products has its own order of the kernel's axes.
            np.ascontiguousarray(kernel.transpose(0, 2, 1)) if hard else kernel.reshape(-1, dim),
            bias,
        ),
        (feature, group_logits),
        (dim,),
    )
