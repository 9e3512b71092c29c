"""Multiply-accumulates of a model, counted from its layers."""

from __future__ import annotations

from math import prod

import keras
from keras import layers

from gfkeras.errors import one_of
from gfkeras.layers import GroupDecisionNetwork, GroupedConv2D, GroupEnsemble
from gfkeras.layers.group_ensemble import MODES


def count_macs(model: keras.Model, mode: str | None = None) -> int:
    """Multiply-accumulates for one image: convolutions and FCs, as the field counts.

    Activations, normalisations (which fold into the layer before them) and
    additions count nothing. Twice the result is what papers call FLOPs.

    Args:
        model: a functional model, such as a backbone or `GroupFace`.
        mode: count a GroupFace as "soft" or "hard", None as it stands. Hard counts
            one group's FC, which is what exported artefacts compute.

    Returns:
        The count.
    """
    if mode is not None:
        one_of("mode", mode, MODES)
    return sum(_layer_macs(layer, mode) for layer in model.layers)


def _layer_macs(layer: keras.layers.Layer, mode: str | None) -> int:
    if isinstance(layer, keras.Model):
        return count_macs(layer, mode)
    if isinstance(layer, (layers.Conv2D, GroupedConv2D, layers.DepthwiseConv2D)):
        places = prod(layer.output.shape[1:3])
        return places * prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return prod(layer.kernel.shape)
    if isinstance(layer, GroupDecisionNetwork):
        return sum(_layer_macs(fc, mode) for fc in (layer.fc1, layer.fc2, layer.classifier))
    if isinstance(layer, GroupEnsemble):
        groups = layer.num_groups if (mode or layer.mode) == "soft" else 1
        return groups * prod(layer.kernel.shape[1:])
    return 0
