"""Equalisation of channel ranges for int8."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.channels import (
    is_linear,
    readers_past_padding,
    scale_inputs,
    scale_outputs,
)
from gfkeras.export.preparation.network import Network, Node
from gfkeras.layers import MaxPReLU

# f(s·x) = s·f(x) for s > 0
_ACTIVATIONS = (keras.layers.PReLU, MaxPReLU)
# Largest ratio between channels. A nearly dead channel is not raised further, because its noise
# would grow as well.
WIDEST = 30.0

# Images per call. The observer returns every node's output, so a larger batch needs much memory.
_AT_ONCE = 4


def equalize(network: Network, largest: Mapping[str, np.ndarray]) -> None:
    """Moves scale factors between layers until a tensor's channels have similar ranges.

    The network's outputs stay the same. `largest` has the largest absolute values, (C,), of each
    node's channels.

    int8 activations have one scale for all channels of a tensor, but a network's channels differ by
    orders of magnitude. PReLU passes a positive factor through. A factor can therefore be divided
    out of a convolution's output channel and multiplied into the next layer's input channel
    (cross-layer equalisation, arXiv 1906.04721, but by activations instead of weights):

    - Before a depthwise convolution, all channels get the same range. Its weights have one int8
      scale per channel, so the factor costs no precision there.
    - Before a layer that mixes channels, the factor is the square root of that. The full factor
      would move all of the difference into the weights of each filter, which share one scale.
    - Channels of a residual stream also get the square root, in all layers that write or read it.
    """
    for node in network:
        if issubclass(node.layer, _ACTIVATIONS) and node.inputs[0] in largest:
            _around_activation(network, node, largest[node.inputs[0]])
    for stream in _streams(network):
        _along_stream(network, stream, largest)


def _around_activation(network: Network, node: Node, seen: np.ndarray) -> None:
    (source,) = node.inputs
    readers = readers_past_padding(network, node.name, is_linear)
    # Nothing else may read the source, because its scale changes.
    if readers is None or not is_linear(network.nodes[source]) or network.readers(source) != [node]:
        return
    by_channel = all(issubclass(each.layer, keras.layers.DepthwiseConv2D) for each in readers)
    factor = _factor(seen, 1.0 if by_channel else 0.5)
    network.nodes[source] = scale_outputs(network.nodes[source], 1 / factor)
    for each in readers:
        network.nodes[each.name] = scale_inputs(network.nodes[each.name], factor)


def _along_stream(network: Network, stream: set[str], largest: Mapping[str, np.ndarray]) -> None:
    # Additions keep a factor only if all of their inputs have it. If a single writer or reader of
    # the stream cannot take it, the stream stays as it is.
    adders = {name for name in stream if issubclass(network.nodes[name].layer, keras.layers.Add)}
    writers = stream - adders
    readers: dict[str, Node] = {}
    for name in stream:
        outside = [each for each in network.readers(name) if each.name not in adders]
        behind = readers_past_padding(network, name, is_linear, outside)
        if behind is None or name not in largest:
            return
        readers.update((each.name, each) for each in behind)
    if not all(is_linear(network.nodes[name]) for name in writers):
        return
    factor = _factor(np.max([largest[name] for name in stream], axis=0), 0.5)
    for name in writers:
        network.nodes[name] = scale_outputs(network.nodes[name], 1 / factor)
    for name in readers:
        network.nodes[name] = scale_inputs(network.nodes[name], factor)


def _factor(seen: np.ndarray, power: float) -> np.ndarray:
    """Returns each channel's ratio to the geometric mean, raised to a power."""
    seen = np.asarray(seen, np.float64)
    if not seen.max() > 0:
        return np.ones_like(seen)
    seen = np.maximum(seen, seen.max() / WIDEST)
    return np.exp(power * (np.log(seen) - np.log(seen).mean()))


def _streams(network: Network) -> list[set[str]]:
    """Returns the residual streams: sets of nodes that additions connect, with their sums."""
    streams: list[set[str]] = []
    for node in network:
        if issubclass(node.layer, keras.layers.Add):
            joined = {node.name, *node.inputs}
            for other in [each for each in streams if each & joined]:
                streams.remove(other)
                joined |= other
            streams.append(joined)
    return streams


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Largest absolute value and mean of each channel, (C,), by node."""

    largest: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]


def observe_channels(network: Network, images: np.ndarray) -> Channels:
    """Runs images, (N, H, W, 3) of 0…255, through a network and measures each node's channels."""
    observer = network.observer()
    largest: dict[str, np.ndarray] = {}
    total: dict[str, np.ndarray] = {}
    for start in range(0, len(images), _AT_ONCE):
        batch = np.asarray(images[start : start + _AT_ONCE], np.float32)
        for name, value in observer(batch, training=False).items():
            places = tuple(range(len(value.shape) - 1))
            seen = ops.convert_to_numpy(ops.max(ops.abs(value), axis=places))
            sums = ops.convert_to_numpy(ops.mean(value, axis=places)) * len(batch)
            largest[name] = np.maximum(largest.get(name, 0.0), seen)
            total[name] = total.get(name, 0.0) + sums
    return Channels(largest, {name: sums / len(images) for name, sums in total.items()})
