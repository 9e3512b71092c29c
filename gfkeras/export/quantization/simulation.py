"""Trainable simulation of an int8 network in float."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.channels import has_kernel
from gfkeras.export.preparation.flattening import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.network import IMAGES, Network, Node
from gfkeras.export.quantization.aeq import Ranges
from gfkeras.export.quantization.integer_layers import (
    FakeQuantization,
    IntegerLinear,
    IntegerSum,
    fake_quantized_kernel,
)
from gfkeras.export.quantization.observing import PIXELS, AllTensors

# Largest difference between two runtimes, as a fraction of the largest value.
_TOLERANCE = 1e-4
# These layers only move values, so their outputs keep the scale of their inputs.
HANDS_ON = (keras.layers.ZeroPadding2D, keras.layers.Flatten, keras.layers.Reshape)

_SUFFIX = "_int8"


def tensors_of(network: Network, path: Path, image: np.ndarray) -> dict[str, str]:
    """Maps tensors of a float .tflite to the nodes that compute the same values.

    The converter fuses operators, so names do not identify the nodes. Instead, the network and the
    file both compute one image, (H, W, 3), and the values are compared. If several nodes have equal
    values, the first is used. The result does not contain tensors inside a layer and outputs of
    layers that only move values.
    """
    computed = network.observer()(image[np.newaxis].astype(np.float32), training=False)
    outputs = {
        node.name: np.ravel(ops.convert_to_numpy(computed[node.name]))
        for node in network
        if not issubclass(node.layer, HANDS_ON)
    }
    found = {}
    for tensor, value in AllTensors(path)(image):
        for name, output in outputs.items():
            if output.size == value.size and _same(output, np.ravel(value)):
                found[tensor] = name
                break
    return found


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return float(np.abs(first - second).max()) <= _TOLERANCE * float(np.abs(first).max())


def by_nodes(ranges: Ranges, nodes: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Turns ranges of tensors into ranges of their nodes."""
    return {node: ranges[tensor] for tensor, node in nodes.items() if tensor in ranges}


def by_tensors(ranges: Ranges, nodes: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Turns ranges of nodes into ranges of the tensors with their outputs."""
    return {tensor: ranges[node] for tensor, node in nodes.items() if node in ranges}


@keras.saving.register_keras_serializable("gfkeras")
class Simulation(keras.Model):
    """A model that computes the embeddings of a network's int8 file and can be trained by `fit`.

    Convolutions, FCs and sums between two roundings compute with XNNPACK's integers
    (`IntegerLinear`, `IntegerSum`). Other activations are rounded where the file rounds them
    (`FakeQuantization`), and other kernels are rounded to the values in the file. Roundings between
    two operators of one layer are not simulated, for example before a chosen group's bias is added.
    `ranges` has (low, high) of each rounded node. The ends of the nodes in `fixed` stay.
    """

    def __init__(
        self,
        network: Network,
        ranges: Mapping[str, tuple[float, float]],
        fixed: Collection[str] = (),
    ):
        super().__init__(dtype="float32")
        self._network = network
        # Pixels have 256 known values, so the input's range is never learned.
        ranges, fixed = {IMAGES: PIXELS, **ranges}, {IMAGES, *fixed}
        self._rounded = tuple(name for name, (low, high) in ranges.items() if high > low)
        self._integer = {
            node.name: sources
            for node in network
            if node.name in self._rounded and (sources := self._rounded_sources(node))
        }
        self.inner = self._with_rounding({name: ranges[name] for name in self._rounded}, fixed)
        for name, sources in self._integer.items():
            self._layer(name).read(*map(self._rounding, sources))
        self._channels: dict[str, int | None] = {}
        for node in network:
            # A gathered kernel has a single scale for all groups.
            if issubclass(node.layer, ChosenGroupProduct):
                self._channels[node.name] = None
            elif node.name not in self._integer and (
                issubclass(node.layer, WeightedGroupsProduct) or has_kernel(node)
            ):
                self._channels[node.name] = int(node.shape[-1])

    def call(self, images: Any) -> Any:
        kernels = {id(self._layer(name).weights[0]): channels
                   for name, channels in self._channels.items()}  # fmt: skip
        # An inner scope hides the values of the outer one, so it must contain all variables.
        mapping = []
        for variable in self.inner.variables:
            value = variable.value
            if id(variable) in kernels:
                value = fake_quantized_kernel(value, kernels[id(variable)])
            mapping.append((variable, value))
        with keras.StatelessScope(state_mapping=mapping):
            return self.inner(images)

    def trained(self) -> Network:
        """Returns the network with the current weights."""
        nodes = {}
        for node in self._network:
            weights = self._layer(node.name).weights[: len(node.weights)] if node.weights else ()
            nodes[node.name] = replace(node, weights=tuple(map(ops.convert_to_numpy, weights)))
        return replace(self._network, nodes=nodes)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Returns the current (low, high) of each rounded node."""
        ends = {name: self._rounding(name).ends() for name in self._rounded if name != IMAGES}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    def _layer(self, name: str) -> Any:
        return self.inner.get_layer(name)

    def _rounding(self, name: str) -> Any:
        """Returns the layer that rounds a node's output: its own layer or the one after it."""
        return self._layer(name if name in self._integer else name + _SUFFIX)

    def _rounded_sources(self, node: Node) -> tuple[str, ...]:
        """Returns the rounded nodes that a node reads, or () if integers cannot compute it."""
        linear = IntegerLinear.arguments(node) is not None
        expected = 2 if issubclass(node.layer, keras.layers.Add) else int(linear)
        sources = tuple(self._handed_on(name) for name in node.inputs)
        known = len(sources) == expected and all(name in self._rounded for name in sources)
        return sources if known else ()

    def _handed_on(self, name: str) -> str:
        """Returns the node that computed these values, before padding and reshaping."""
        while name != IMAGES and issubclass(self._network.nodes[name].layer, HANDS_ON):
            # A rounded output has its own scale.
            if name in self._rounded:
                break
            (name,) = self._network.nodes[name].inputs
        return name

    def _with_rounding(
        self, ranges: Mapping[str, tuple[float, float]], fixed: Collection[str]
    ) -> keras.Model:
        network = self._network
        network = replace(network, nodes=dict(network.nodes), outputs=dict(network.outputs))
        for name, (low, high) in ranges.items():
            config = {"low": low, "high": high, "fixed": name in fixed, "dtype": "float32"}
            if name not in self._integer:
                network.insert(Node(name + _SUFFIX, FakeQuantization, config), name)
                continue
            node = network.nodes[name]
            if issubclass(node.layer, keras.layers.Add):
                network.replace(node, layer=IntegerSum, config=config)
            else:
                arguments = IntegerLinear.arguments(node) or {}
                weights = (*node.weights, np.zeros(2))
                network.replace(
                    node, layer=IntegerLinear, config=config | arguments, weights=weights
                )
        return network.model()
