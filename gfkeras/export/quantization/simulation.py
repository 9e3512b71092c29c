"""A network as int8 will compute it, in float and with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from gfkeras.export.preparation.group_products import ChosenGroupProduct, WeightedGroupsProduct
from gfkeras.export.preparation.linear import has_kernel
from gfkeras.export.preparation.network import Network, Node
from gfkeras.export.quantization.fake_quantization import FakeQuantization, fake_quantized_kernel

_SUFFIX = "_int8"


@keras.saving.register_keras_serializable("gfkeras")
class Simulation(keras.Model):
    """Embeds as the int8 file of a network does, and can be trained by `fit`.

    Activations are rounded where the file rounds them (`FakeQuantization`), kernels as it holds
    them; biases, which are int32 there, stay float. What a runtime does between two operators of
    one layer, such as adding a chosen group's bias, is not simulated.

    Args:
        network: prepared.
        ranges: (low, high) of each node whose output the file rounds.

    Call arguments:
        images: (B, H, W, 3) float32, 0…255.

    Returns:
        The dictionary of the network's outputs.
    """

    def __init__(self, network: Network, ranges: Mapping[str, tuple[float, float]]):
        super().__init__(dtype="float32")
        self._network = network
        self._rounded = tuple(name for name, (low, high) in ranges.items() if high > low)
        self.inner = _with_rounding(network, {name: ranges[name] for name in self._rounded})
        self._channels: dict[str, int | None] = {}
        for node in network:
            # A chosen group's kernel is gathered, which takes one scale for all of them.
            if issubclass(node.layer, ChosenGroupProduct):
                self._channels[node.name] = None
            elif issubclass(node.layer, WeightedGroupsProduct) or has_kernel(node):
                self._channels[node.name] = int(node.shape[-1])

    def call(self, images: Any) -> Any:
        kernels = {id(self.inner.get_layer(name).weights[0]): channels
                   for name, channels in self._channels.items()}  # fmt: skip
        # An inner scope hides the outer one's values, so that it must name all variables.
        mapping = [
            (
                variable,
                fake_quantized_kernel(variable.value, kernels[id(variable)])
                if id(variable) in kernels
                else variable.value,
            )
            for variable in self.inner.variables
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return self.inner(images)

    def trained(self) -> Network:
        """The network with the weights as they are now."""
        nodes = {}
        for node in self._network:
            layer = self.inner.get_layer(node.name) if node.weights else None
            weights = () if layer is None else tuple(map(ops.convert_to_numpy, layer.weights))
            nodes[node.name] = replace(node, weights=weights)
        return replace(self._network, nodes=nodes)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """(low, high) of each rounded node as they are now."""
        layers = {name: self.inner.get_layer(name + _SUFFIX) for name in self._rounded}
        return {
            name: (float(low), float(high))
            for name, (low, high) in ((name, layer.ends()) for name, layer in layers.items())
        }


def _with_rounding(network: Network, ranges: Mapping[str, tuple[float, float]]) -> keras.Model:
    rounding = replace(network, nodes=dict(network.nodes), outputs=dict(network.outputs))
    for name, (low, high) in ranges.items():
        config = {"low": low, "high": high, "dtype": "float32"}
        rounding.insert(Node(name + _SUFFIX, FakeQuantization, config), name)
    return rounding.model()
