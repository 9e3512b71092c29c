"""GroupFace's head rewritten, exactly, with fewer and smaller matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from gfkeras.export.preparation.affine import Affine
from gfkeras.models import GroupFace


@dataclass(frozen=True, slots=True)
class FoldedHead:
    """The head of a GroupFace as few affine maps; None where folding removed one.

    All maps take the feature x unless they say otherwise.

    Attributes:
        shared: from the backbone's feature to x; None where x is that feature.
        instance: x → v, (F, D); None with combine="add", where it is in `group_kernel`.
        decision_input: x (or v, where `instance` is there) → the first hidden layer
            of the group decision network, its first batch normalisation included.
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

    - With combine="add" the instance FC joins each group's: W'_k = W_I + W_k gives
      v̄ = x·W'_k in one product. It holds for the soft ensemble too, as Σ p_k = 1.
    - Every batch normalisation joins the FC beside it.
    - v itself is then needed by the group decision network alone, whose first FC
      follows v without a nonlinearity, so that they are one FC of (F, group_dim).
    - The shared FC is linear at inference as well. Where the backbone's feature is no
      wider than it, it joins all that follows, and an artefact of shared_dim=4096
      costs as much as one without.

    The model is not changed. Products are taken in float64 and rounded once.
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
