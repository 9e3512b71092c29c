"""Layers that are scales and shifts at inference, opened into them."""

from __future__ import annotations

import keras
import numpy as np

from gfkeras.export.preparation.channels import ChannelScale, ChannelShift
from gfkeras.export.preparation.linear import has_kernel
from gfkeras.export.preparation.network import IMAGES, Network, Node
from gfkeras.layers import InputNormalization

# β·σ/γ is by how many standard deviations a shift before the scale moves a channel. Beyond, a
# float32 of the shifted channel has too few digits left for the channel itself.
LARGEST_SHIFT = 64.0


def open_batch_norms(network: Network) -> None:
    """Turns each batch normalisation into a scale and a shift by its moving statistics.

    y = x·s + t with s = γ/√(σ² + ε), t = β − mean·s. In this order behind a layer with a kernel,
    which both enter. Elsewhere as (x + t/s)·s where no channel's s is too small for that: the scale
    then enters the next convolution even where that pads.
    """
    for node in network:
        if not issubclass(node.layer, keras.layers.BatchNormalization):
            continue
        if node.config["axis"] not in (-1, len(node.shape)):
            # Of another axis than that of the channels here.
            continue
        mean, deviation, gamma, beta = _statistics(node)
        scale = gamma / deviation
        source = node.inputs[0]
        behind_kernel = source != IMAGES and has_kernel(network.nodes[source])
        steps = [(ChannelScale, "scale", scale), (ChannelShift, "shift", beta - mean * scale)]
        if not behind_kernel and np.all(np.abs(beta) <= LARGEST_SHIFT * np.abs(gamma)):
            # Where γ is 0, so is β here, and the channel's shift does not matter.
            ratio = np.divide(beta, gamma, out=np.zeros_like(beta), where=gamma != 0)
            steps = [
                (ChannelShift, "shift", ratio * deviation - mean),
                (ChannelScale, "scale", scale),
            ]
        _replace(network, node, steps)


def open_input_normalization(network: Network) -> None:
    """Turns (x − mean)·scale into a shift, which stays, and a scale, which the stem takes in.

    The shift cannot enter a convolution that pads: the zeros around the image stand for grey,
    not for black.
    """
    for node in network:
        if issubclass(node.layer, InputNormalization):
            channels = network.input_shape[-1]
            mean, scale = (np.full(channels, node.config[key]) for key in ("mean", "scale"))
            _replace(
                network, node, [(ChannelShift, "shift", -mean), (ChannelScale, "scale", scale)]
            )


def _statistics(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(mean, √(variance + ε), γ, β)"""
    weights = [np.asarray(weight, np.float64) for weight in node.weights]
    gamma = weights.pop(0) if node.config["scale"] else np.ones_like(weights[0])
    beta = weights.pop(0) if node.config["center"] else np.zeros_like(weights[0])
    mean, variance = weights
    return mean, np.sqrt(variance + node.config["epsilon"]), gamma, beta


def _replace(
    network: Network, node: Node, steps: list[tuple[type[keras.layers.Layer], str, np.ndarray]]
) -> None:
    name = node.name
    for kind, suffix, values in steps:
        new = Node(f"{node.name}_{suffix}", kind, {"dtype": "float32"}, (values,))
        network.insert(new, name)
        name = new.name
    network.remove(node.name)
