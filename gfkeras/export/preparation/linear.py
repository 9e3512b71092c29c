"""Scales and shifts of the channels that a linear layer reads and writes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from gfkeras.export.preparation.group_products import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.network import Network, Node
from gfkeras.layers import GroupedConv2D

_DEPTHWISE = keras.layers.DepthwiseConv2D
_BIASED = (keras.layers.Conv2D, _DEPTHWISE, keras.layers.Dense)
_GROUPS = (ChosenGroupProduct, WeightedGroupsProduct)


class _PerChannel(keras.layers.Layer):
    """Holds `values`, (C,); its output has its input's shape."""

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
    """Whether a node is a layer with a kernel, or a scale, and nothing else happens in it."""
    if node.config.get("groups", 1) != 1 and not issubclass(node.layer, GroupedConv2D):
        return False
    return (
        issubclass(node.layer, (*_BIASED, GroupedConv2D, ChannelScale))
        and node.config.get("activation", "linear") == "linear"
    )


def has_kernel(node: Node) -> bool:
    """Whether a linear node is more than a factor per channel."""
    return is_linear(node) and not issubclass(node.layer, ChannelScale)


def takes_bias(node: Node) -> bool:
    """Whether a linear node has a bias, or can have one."""
    return is_linear(node) and issubclass(node.layer, _BIASED)


def reads_linearly(node: Node, source: str) -> bool:
    """Whether a node is linear in what `source` gives it."""
    return is_linear(node) or (issubclass(node.layer, _GROUPS) and node.inputs[0] == source)


def adapts_bias(node: Node, source: str) -> bool:
    """Whether a summand in what `source` gives is one in a bias of the node."""
    if adds_zeros(node):
        return False
    return takes_bias(node) or (issubclass(node.layer, _GROUPS) and node.inputs[0] == source)


def adds_zeros(node: Node) -> bool:
    """Whether a convolution pads its input."""
    return node.config.get("padding", "valid") != "valid"


def readers_past_padding(
    network: Network, name: str, accepts: Callable[[Node], bool], readers: list[Node] | None = None
) -> list[Node] | None:
    """The layers that read a node, past padding; None where it is an output, or one is refused.

    `readers` limits which readers of the node are looked at.
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
    """The node with each of its output channels multiplied."""
    kernel, *bias = node.weights
    # A depthwise kernel ends in (inputs, multiplier), any other in the outputs.
    factor = np.reshape(scale, kernel.shape[2:]) if issubclass(node.layer, _DEPTHWISE) else scale
    return replace(node, weights=(kernel * factor, *(each * scale for each in bias)))


def scale_inputs(node: Node, scale: np.ndarray) -> Node:
    """The node for an input whose channels were multiplied before: f'(x) = f(scale·x)."""
    kernel, *bias = node.weights
    return replace(node, weights=(kernel * _by_input(node, scale), *bias))


def shift_outputs(node: Node, shift: np.ndarray) -> Node:
    """The node with a number added to each output channel; it has a bias then."""
    kernel, *bias = node.weights
    total = np.asarray(shift, np.float64) + (bias[0] if bias else 0.0)
    config = node.config if bias else {**node.config, "use_bias": True}
    return replace(node, config=config, weights=(kernel, total))


def response(node: Node, values: np.ndarray) -> np.ndarray:
    """The addition to a layer's outputs for a summand in each input channel, without padding."""
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
    """(C,) per input channel, shaped so that a kernel can be multiplied by it."""
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
