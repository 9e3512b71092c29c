"""Any of our models as one network of plain layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from gfkeras.export.preparation.affine import Affine
from gfkeras.export.preparation.group_products import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.head_folding import fold
from gfkeras.export.preparation.network import IMAGES, Network, Node, append, network_of
from gfkeras.models import GroupFace


def flattened(model: keras.Model, mode: str | None = None) -> Network:
    """A model's layers in one network that gives "embedding" and what else artefacts give.

    Of a GroupFace the head is folded (`gfkeras.export.fold`), its instance embedding left out.

    Args:
        model: a `GroupFace`, or a functional model.
        mode: "soft" or "hard" for a GroupFace; its own by default.

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
        weights = (affine.kernel, affine.bias)
        shape = affine.bias.shape
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
        width = (2 * model.embedding_dim,)
        inputs = (source, embedding)
        joined = Node(
            "embedding", keras.layers.Concatenate, {"dtype": "float32"}, (), inputs, width
        )
        embedding = network.add(replace(joined, listed=True))
    network.outputs = {
        "embedding": embedding,
        "group_feature": group_feature,
        "group_logits": group_logits,
    }
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
