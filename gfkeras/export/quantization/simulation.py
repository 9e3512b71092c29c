"""Simulation of an int8 network in float, with gradients."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.channels import has_kernel
from gfkeras.export.preparation.group_products import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.network import IMAGES, Network, Node
from gfkeras.export.quantization.aeq import Ranges
from gfkeras.export.quantization.integer_layers import (
    FakeQuantization,
    IntegerLinear,
    IntegerSum,
    fake_quantized_kernel,
)
from gfkeras.export.quantization.observing import PIXELS, AllTensors

# Of the largest value, between two runtimes.
_TOLERANCE = 1e-4
# What hands values on keeps their scale as well.
HANDS_ON = (keras.layers.ZeroPadding2D, keras.layers.Flatten, keras.layers.Reshape)

_SUFFIX = "_int8"


def tensors_of(network: Network, path: Path, image: np.ndarray) -> dict[str, str]:
    """The node of each tensor of a float .tflite whose values are that node's output.

    Both compute an image, (H, W, 3), and are compared: names say little after a converter's
    fusions. Of several nodes with equal values the first counts. Tensors inside a layer, and of
    layers that only hand on values, are left out.
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
    """Ranges of tensors as those of the nodes that they belong to."""
    return {node: ranges[tensor] for tensor, node in nodes.items() if tensor in ranges}


def by_tensors(ranges: Ranges, nodes: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Ranges of nodes as those of the tensors that hold their outputs."""
    return {tensor: ranges[node] for tensor, node in nodes.items() if node in ranges}


@keras.saving.register_keras_serializable("gfkeras")
class Simulation(keras.Model):
    """Embeds as the int8 file of a network does, and can be trained by `fit`.

    Convolutions, FCs and sums between two roundings are computed integer by integer as XNNPACK does
    (`IntegerLinear`, `IntegerSum`), other activations are rounded where the file rounds them
    (`FakeQuantization`), other kernels as it holds them. What a runtime does between two operators
    of one layer, such as adding a chosen group's bias, is not simulated.

    `ranges` are (low, high) of each rounded node; `fixed` ones are not learned.
    """

    def __init__(
        self,
        network: Network,
        ranges: Mapping[str, tuple[float, float]],
        fixed: Collection[str] = (),
    ):
        super().__init__(dtype="float32")
        self._network = network
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
            # A chosen group's kernel is gathered, which takes one scale for all of them.
            if issubclass(node.layer, ChosenGroupProduct):
                self._channels[node.name] = None
            elif node.name not in self._integer and (
                issubclass(node.layer, WeightedGroupsProduct) or has_kernel(node)
            ):
                self._channels[node.name] = int(node.shape[-1])

    def call(self, images: Any) -> Any:
        kernels = {id(self._layer(name).weights[0]): channels
                   for name, channels in self._channels.items()}  # fmt: skip
        # An inner scope hides the outer one's values, so that it must name all variables.
        mapping = []
        for variable in self.inner.variables:
            value = variable.value
            if id(variable) in kernels:
                value = fake_quantized_kernel(value, kernels[id(variable)])
            mapping.append((variable, value))
        with keras.StatelessScope(state_mapping=mapping):
            return self.inner(images)

    def trained(self) -> Network:
        """The network with the weights as they are now."""
        nodes = {}
        for node in self._network:
            weights = self._layer(node.name).weights[: len(node.weights)] if node.weights else ()
            nodes[node.name] = replace(node, weights=tuple(map(ops.convert_to_numpy, weights)))
        return replace(self._network, nodes=nodes)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """(low, high) of each rounded node as they are now."""
        ends = {name: self._rounding(name).ends() for name in self._rounded if name != IMAGES}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    def _layer(self, name: str) -> Any:
        return self.inner.get_layer(name)

    def _rounding(self, name: str) -> Any:
        """The layer that rounds a node's output: itself, or the one behind it."""
        return self._layer(name if name in self._integer else name + _SUFFIX)

    def _rounded_sources(self, node: Node) -> tuple[str, ...]:
        """The nodes behind the inputs of one that integers can compute; none for any other."""
        linear = IntegerLinear.arguments(node) is not None
        expected = 2 if issubclass(node.layer, keras.layers.Add) else int(linear)
        sources = tuple(self._handed_on(name) for name in node.inputs)
        known = len(sources) == expected and all(name in self._rounded for name in sources)
        return sources if known else ()

    def _handed_on(self, name: str) -> str:
        """The node whose values another hands on, through padding and reshaping."""
        while name != IMAGES and issubclass(self._network.nodes[name].layer, HANDS_ON):
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
