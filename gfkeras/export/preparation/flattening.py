"""Flattening of a model into one network of plain layers, GroupFace's head folded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.group_products import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.network import IMAGES, Network, Node, append, network_of
from gfkeras.models import GroupFace


@dataclass(frozen=True, slots=True)
class Affine:
    """y = x·kernel + bias in float64, so that folding rounds once; kernel (inputs, outputs)."""

    kernel: np.ndarray
    bias: np.ndarray

    @classmethod
    def of_dense(cls, layer: Any) -> Affine:
        """A linear `keras.layers.Dense`."""
        kernel = _float64(layer.kernel)
        bias = _float64(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
        return cls(kernel, bias)

    def then(self, following: Affine) -> Affine:
        """This map followed by another: x·(W₁W₂) + (b₁W₂ + b₂)."""
        return Affine(self.kernel @ following.kernel, self.bias @ following.kernel + following.bias)

    def then_normalized(self, layer: Any) -> Affine:
        """This map followed by a `keras.layers.BatchNormalization` at inference."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale, self.bias * scale + shift)

    def normalized_first(self, layer: Any) -> Affine:
        """This map after a `keras.layers.BatchNormalization` at inference."""
        scale, shift = normalization(layer)
        return Affine(self.kernel * scale[:, None], self.bias + shift @ self.kernel)


def normalization(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation at inference as x·scale + shift."""
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
    """The head of a GroupFace as few affine maps of the feature x; None where folding removed one.

    Attributes:
        shared: from the backbone's feature to x; None where x is that feature.
        instance: x → v, (F, D); None with combine="add", where it is in `group_kernel`.
        decision_input: x (or v, where `instance` is there) → first hidden layer of the group
            decision network, its first batch normalisation included.
        decision_output: hidden layer → v̂, the second batch normalisation included.
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
    """Composes what is linear between the nonlinearities of a GroupFace's head.

    - With combine="add" the instance FC joins each group's: W'_k = W_I + W_k gives v̄ = x·W'_k in
      one product. It holds for the soft ensemble too, as Σ p_k = 1.
    - Every batch normalisation joins the FC beside it.
    - Only the group decision network then needs v, and its first FC follows v without a
      nonlinearity: they become one FC of (F, group_dim).
    - The shared FC is linear at inference as well. Where the backbone's feature is no wider, it
      joins all that follows, and shared_dim=4096 costs an artefact nothing.

    Products are taken in float64 and rounded once. The model is not changed.
    """
    layer = model.get_layer
    kernel, bias = (
        ops.convert_to_numpy(v.value) for v in (model.ensemble.kernel, model.ensemble.bias)
    )
    instance = Affine.of_dense(layer("instance_fc")).then_normalized(layer("instance_bn"))
    shared = None
    if model.shared_dim is not None:
        shared = Affine.of_dense(layer("shared_fc")).then_normalized(layer("shared_bn"))
    absorbed = None
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
    """One group's FC at a time, for K of them in float64 would not fit everywhere."""
    group = Affine(kernel.astype(np.float64), bias.astype(np.float64))
    if instance is not None:
        group = Affine(group.kernel + instance.kernel, group.bias + instance.bias)
    if absorbed is not None:
        group = absorbed.then(group)
    return group.kernel.astype(np.float32), group.bias.astype(np.float32)


def flattened(model: keras.Model, mode: str | None = None) -> Network:
    """A model's layers in one network with the outputs of an artefact.

    The head of a GroupFace is folded (`fold`), and its instance embedding left out.

    Raises:
        NotRewritable: for a model that cannot be taken apart.
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
    # The instance embedding, or where it is folded away the feature itself.
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
            np.ascontiguousarray(kernel.transpose(0, 2, 1)) if hard else kernel.reshape(-1, dim),
            bias,
        ),
        (feature, group_logits),
        (dim,),
    )
