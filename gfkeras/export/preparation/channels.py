"""Scales and shifts of channels, and their folding into neighbouring layers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from gfkeras.export.preparation.flattening import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.network import IMAGES, Network, Node
from gfkeras.layers import GroupedConv2D, InputNormalization

_DEPTHWISE = keras.layers.DepthwiseConv2D
_BIASED = (keras.layers.Conv2D, _DEPTHWISE, keras.layers.Dense)
_GROUPS = (ChosenGroupProduct, WeightedGroupsProduct)
# Largest |β/γ|: the number of standard deviations by which a shift before the scale moves a
# channel. After a larger shift, float32 would have too few digits left for the channel's values.
LARGEST_SHIFT = 64.0


class _PerChannel(keras.layers.Layer):
    """A layer with one weight per channel, `values`, (C,), that keeps its input's shape."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.values = self.add_weight(name="values", shape=(input_shape[-1],))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable("gfkeras")
class ChannelScale(_PerChannel):
    """y = x·values over the last axis."""

    def call(self, inputs: Any) -> Any:
        return inputs * self.values


@keras.saving.register_keras_serializable("gfkeras")
class ChannelShift(_PerChannel):
    """y = x + values over the last axis."""

    def call(self, inputs: Any) -> Any:
        return inputs + self.values


def is_linear(node: Node) -> bool:
    """Returns whether a node is only a product with a kernel or a scale, and perhaps a bias."""
    if node.config.get("groups", 1) != 1 and not issubclass(node.layer, GroupedConv2D):
        return False
    return (
        issubclass(node.layer, (*_BIASED, GroupedConv2D, ChannelScale))
        and node.config.get("activation", "linear") == "linear"
    )


def has_kernel(node: Node) -> bool:
    """Returns whether a node is linear and is not only a factor per channel."""
    return is_linear(node) and not issubclass(node.layer, ChannelScale)


def takes_bias(node: Node) -> bool:
    """Returns whether a node is linear and has a bias or can have one."""
    return is_linear(node) and issubclass(node.layer, _BIASED)


def reads_linearly(node: Node, source: str) -> bool:
    """Returns whether a node is linear in the output of `source`."""
    return is_linear(node) or (issubclass(node.layer, _GROUPS) and node.inputs[0] == source)


def adapts_bias(node: Node, source: str) -> bool:
    """Returns whether the node's bias can replace a constant added to the output of `source`."""
    if adds_zeros(node):
        return False
    return takes_bias(node) or (issubclass(node.layer, _GROUPS) and node.inputs[0] == source)


def adds_zeros(node: Node) -> bool:
    """Returns whether a convolution pads its input."""
    return node.config.get("padding", "valid") != "valid"


def readers_past_padding(
    network: Network, name: str, accepts: Callable[[Node], bool], readers: list[Node] | None = None
) -> list[Node] | None:
    """Returns the layers that read a node, directly or through padding.

    Returns None if the node is an output or if `accepts` is false for one of the layers. `readers`
    limits the search to these readers of the node.
    """
    if network.is_output(name):
        return None
    found = []
    for reader in network.readers(name) if readers is None else readers:
        if issubclass(reader.layer, keras.layers.ZeroPadding2D):
            behind = readers_past_padding(network, reader.name, accepts)
        else:
            behind = [reader] if accepts(reader) else None
        if behind is None:
            return None
        found += behind
    return found


def scale_outputs(node: Node, scale: np.ndarray) -> Node:
    """Returns the node with its output channels multiplied by `scale`."""
    kernel, *bias = node.weights
    # A depthwise kernel ends in (inputs, multiplier), and every other kernel ends in the outputs.
    factor = np.reshape(scale, kernel.shape[2:]) if issubclass(node.layer, _DEPTHWISE) else scale
    return replace(node, weights=(kernel * factor, *(each * scale for each in bias)))


def scale_inputs(node: Node, scale: np.ndarray) -> Node:
    """Returns the node that multiplies its input channels itself: f'(x) = f(scale·x)."""
    kernel, *bias = node.weights
    return replace(node, weights=(kernel * _by_input(node, scale), *bias))


def shift_outputs(node: Node, shift: np.ndarray) -> Node:
    """Returns the node with `shift` added to its output channels, by a bias."""
    kernel, *bias = node.weights
    total = np.asarray(shift, np.float64) + (bias[0] if bias else 0.0)
    config = node.config if bias else {**node.config, "use_bias": True}
    return replace(node, config=config, weights=(kernel, total))


def response(node: Node, values: np.ndarray) -> np.ndarray:
    """Returns the change of a layer's outputs if `values` are added to its input channels.

    The result is valid where the layer reads no padding.
    """
    kernel = np.asarray(node.weights[0], np.float64) * _by_input(node, values)
    if issubclass(node.layer, ChannelScale):
        return kernel
    if issubclass(node.layer, ChosenGroupProduct):
        return kernel.sum(axis=-1)
    if issubclass(node.layer, WeightedGroupsProduct):
        return kernel.reshape(-1, len(values), kernel.shape[-1]).sum(axis=1)
    if issubclass(node.layer, _DEPTHWISE):
        return kernel.sum(axis=(0, 1)).reshape(-1)
    return kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)


def _by_input(node: Node, values: np.ndarray) -> np.ndarray:
    """Reshapes one value per input channel, (C,), for a product with the node's kernel."""
    values = np.asarray(values, np.float64)
    if issubclass(node.layer, (ChannelScale, ChosenGroupProduct)):
        return values
    if issubclass(node.layer, WeightedGroupsProduct):
        return np.tile(values, len(node.weights[0]) // len(values))[:, None]
    if issubclass(node.layer, GroupedConv2D):
        groups, filters = node.config["groups"], node.config["filters"]
        # (C / groups, filters): each filter reads the channels of its own group.
        return np.repeat(values.reshape(groups, -1).T, filters // groups, axis=1)
    return values[:, None]


def fold_channels(network: Network) -> None:
    """Folds each `ChannelScale` and `ChannelShift` into a neighbouring layer, where that is exact.

    A scale is multiplied into the kernels of all layers that read it, or into the kernel of the
    layer before it. It can pass a shift on the way. A shift is added to the bias of the layer
    before it, or to the biases of the layers that read it. Layers with padding cannot take it,
    because their padded zeros would need the shift too. Scales and shifts without such a neighbour
    stay.
    """
    # One move can make another possible, so the search starts again until none is left.
    while any(_fold(network, node) for node in network):
        pass


def _fold(network: Network, node: Node) -> bool:
    """Moves a scale or shift by one step. Returns whether that was possible."""
    if node.name not in network.nodes:
        return False
    # An earlier move of this pass can have changed the node.
    node = network.nodes[node.name]
    if issubclass(node.layer, ChannelScale):
        return _drop(network, node, 1.0) or _scale_down(network, node) or _scale_up(network, node)
    if issubclass(node.layer, ChannelShift):
        return _drop(network, node, 0.0) or _shift_up(network, node) or _shift_down(network, node)
    return False


def _drop(network: Network, node: Node, neutral: float) -> bool:
    if not np.all(node.weights[0] == neutral):
        return False
    network.remove(node.name)
    return True


def _scale_down(network: Network, node: Node) -> bool:
    scale = np.asarray(node.weights[0], np.float64)
    found, passed = [], []
    for reader, source, repeats in _behind(network, node, through_padding=True):
        if issubclass(reader.layer, ChannelShift) and np.all(np.abs(scale) == 1):
            # s·x + t = s·(x + s·t) for signs s
            behind = _behind(network, reader, through_padding=True)
            if not behind:
                # The shift reaches an output, and no later layer could undo the sign.
                return False
            passed.append(reader)
            found += behind
        else:
            found.append((reader, source, repeats))
    if not found or not all(reads_linearly(reader, source) for reader, source, _ in found):
        return False
    for shift in passed:
        network.replace(shift, weights=(shift.weights[0] * scale,))
    for reader, _, repeats in found:
        network.nodes[reader.name] = scale_inputs(
            network.nodes[reader.name], np.tile(scale, repeats)
        )
    network.remove(node.name)
    return True


def _scale_up(network: Network, node: Node) -> bool:
    source = _only_source(network, node)
    if source is None:
        return False
    scale = node.weights[0]
    if issubclass(source.layer, ChannelShift):
        # s·(x + t) = s·x + s·t
        network.replace(source, weights=(source.weights[0] * scale.astype(np.float64),))
        network.remove(node.name)
        network.insert(node, source.inputs[0], reader=source.name)
        return True
    if not is_linear(source):
        return False
    network.nodes[source.name] = scale_outputs(source, scale)
    network.remove(node.name)
    return True


def _shift_up(network: Network, node: Node) -> bool:
    source = _only_source(network, node)
    if source is None or not takes_bias(source):
        return False
    network.nodes[source.name] = shift_outputs(source, node.weights[0])
    network.remove(node.name)
    return True


def _shift_down(network: Network, node: Node) -> bool:
    found = _behind(network, node, through_padding=False)
    if not found or not all(adapts_bias(reader, source) for reader, source, _ in found):
        return False
    for reader, _, repeats in found:
        shift = response(reader, np.tile(node.weights[0], repeats))
        network.nodes[reader.name] = shift_outputs(reader, shift)
    network.remove(node.name)
    return True


def _only_source(network: Network, node: Node) -> Node | None:
    """Returns the node that this node reads, or None if other nodes read it too."""
    (source,) = node.inputs
    if source == IMAGES or network.is_output(source) or len(network.readers(source)) != 1:
        return None
    return network.nodes[source]


def _behind(network: Network, node: Node, through_padding: bool) -> list[tuple[Node, str, int]]:
    """Returns the layers that a node's channels reach, past flattening and, if asked, padding.

    Each entry is the layer, the node that it reads, and how often each channel is repeated there.
    The list is empty if the channels reach an output first.
    """
    found: list[tuple[Node, str, int]] = []
    waiting = [(node.name, 1)]
    while waiting:
        name, repeats = waiting.pop()
        if network.is_output(name):
            return []
        for reader in network.readers(name):
            if issubclass(reader.layer, keras.layers.ZeroPadding2D) and through_padding:
                waiting.append((reader.name, repeats))
            elif issubclass(reader.layer, keras.layers.Flatten):
                # A flattened image contains each channel once for every pixel.
                waiting.append((reader.name, repeats * _places(network, name)))
            else:
                found.append((reader, name, repeats))
    return found


def _places(network: Network, name: str) -> int:
    shape = network.input_shape if name == IMAGES else network.nodes[name].shape
    return math.prod(shape[:-1])


def open_batch_norms(network: Network) -> None:
    """Turns each batch normalisation into a scale and a shift by its moving statistics.

    y = x·s + t with s = γ/√(σ² + ε), t = β − mean·s. After a layer with a kernel, the order is
    scale, then shift, because that layer can take both. After other layers, the order is (x +
    t/s)·s unless a channel's s is too small: the next convolution can then take the scale even if
    it pads.
    """
    for node in network:
        if not issubclass(node.layer, keras.layers.BatchNormalization):
            continue
        if node.config["axis"] not in (-1, len(node.shape)):
            # It normalises another axis than the channels.
            continue
        mean, deviation, gamma, beta = _statistics(node)
        scale = gamma / deviation
        source = node.inputs[0]
        behind_kernel = source != IMAGES and has_kernel(network.nodes[source])
        steps = [(ChannelScale, "scale", scale), (ChannelShift, "shift", beta - mean * scale)]
        if not behind_kernel and np.all(np.abs(beta) <= LARGEST_SHIFT * np.abs(gamma)):
            # If γ is 0, the bound above makes β 0 too, and any shift gives the same output.
            ratio = np.divide(beta, gamma, out=np.zeros_like(beta), where=gamma != 0)
            steps = [
                (ChannelShift, "shift", ratio * deviation - mean),
                (ChannelScale, "scale", scale),
            ]
        _replace(network, node, steps)


def open_input_normalization(network: Network) -> None:
    """Turns (x − mean)·scale into a shift, which stays, and a scale, which the stem can take.

    A convolution that pads cannot take the shift: zeros around the normalised image are grey, but
    zeros around the pixels would be black.
    """
    for node in network:
        if issubclass(node.layer, InputNormalization):
            channels = network.input_shape[-1]
            mean, scale = (np.full(channels, node.config[key]) for key in ("mean", "scale"))
            _replace(
                network, node, [(ChannelShift, "shift", -mean), (ChannelScale, "scale", scale)]
            )


def open_rescalings(network: Network) -> None:
    """Turns x·scale + offset, as in Inception-ResNet, into a scale and a shift."""
    for node in network:
        if issubclass(node.layer, keras.layers.Rescaling):
            scale, shift = (
                np.broadcast_to(np.asarray(node.config[key], np.float64), node.shape[-1:])
                for key in ("scale", "offset")
            )
            _replace(
                network, node, [(ChannelScale, "scale", scale), (ChannelShift, "shift", shift)]
            )


def _statistics(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns (mean, √(variance + ε), γ, β), each (C,) float64."""
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
