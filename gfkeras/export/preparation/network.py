"""A functional Keras model as plain data, which the preparation steps rewrite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import ops

IMAGES = "images"


class NotRewritable(ValueError):
    """The model's layers cannot be separated."""


class Opaque(keras.layers.Layer):
    """Marks a call that is kept as it is: an operation, further arguments, or several results."""


@dataclass(frozen=True, slots=True)
class Node:
    """One call of a layer, under a name that is unique in its network.

    `config` has the layer's arguments without the name, and `weights` are in the layer's order.
    Steps compute in float64, so a chain of steps rounds once. `inputs` are names of nodes, or
    `IMAGES`. `shape` is that of the output, without the batch. `listed` says that the layer takes
    its inputs as one list, like `keras.layers.Add`. An `Opaque` node has Keras' record of the call
    and the index of its result.
    """

    name: str
    layer: type[keras.layers.Layer]
    config: dict[str, Any]
    weights: tuple[np.ndarray, ...] = ()
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    listed: bool = False
    call: Any = None
    result: int = 0

    @classmethod
    def of(cls, layer: keras.layers.Layer, inputs: tuple[str, ...], shape: Any) -> Node:
        """Returns the node of a layer that is built."""
        config = {key: value for key, value in layer.get_config().items() if key != "name"}
        weights = tuple(np.asarray(ops.convert_to_numpy(weight)) for weight in layer.weights)
        return cls(layer.name, type(layer), config, weights, inputs, tuple(shape))

    def make(self) -> keras.layers.Layer:
        """Returns a new layer, without its weights."""
        return self.layer.from_config({**self.config, "name": self.name})


@dataclass(slots=True)
class Network:
    """Nodes by name, each after the nodes that it reads.

    `outputs` maps the keys of the model's outputs to names of nodes.
    """

    input_shape: tuple[int, ...]
    nodes: dict[str, Node] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Node]:
        """Iterates over a copy of the list of nodes, so the network can change meanwhile."""
        return iter(list(self.nodes.values()))

    def add(self, node: Node) -> str:
        """Appends a node and returns its name, which gets a number if it is already used."""
        name, number = node.name, 1
        while name in self.nodes or name == IMAGES:
            number += 1
            name = f"{node.name}_{number}"
        self.nodes[name] = replace(node, name=name)
        return name

    def replace(self, node: Node, **changes: Any) -> Node:
        """Changes a node's attributes and returns the changed node."""
        self.nodes[node.name] = changed = replace(node, **changes)
        return changed

    def readers(self, name: str) -> list[Node]:
        """Returns the nodes that read a node. A node that reads it twice is listed twice."""
        return [node for node in self for source in node.inputs if source == name]

    def is_output(self, name: str) -> bool:
        return name in self.outputs.values()

    def remove(self, name: str) -> None:
        """Removes a node with one input. Its readers then read that input."""
        (source,) = self.nodes.pop(name).inputs
        for node in self:
            if name in node.inputs:
                inputs = tuple(source if each == name else each for each in node.inputs)
                self.nodes[node.name] = replace(node, inputs=inputs)
        self.outputs = {k: source if node == name else node for k, node in self.outputs.items()}

    def insert(self, node: Node, source: str, reader: str | None = None) -> None:
        """Inserts a node with one input after `source`, before `reader` or before all readers."""
        shape = self.input_shape if source == IMAGES else self.nodes[source].shape
        node = replace(node, inputs=(source,), shape=shape)
        for each in self:
            if source in each.inputs and reader in (None, each.name):
                inputs = tuple(node.name if name == source else name for name in each.inputs)
                self.nodes[each.name] = replace(each, inputs=inputs)
        if reader is None:
            self.outputs = {
                key: node.name if name == source else name for key, name in self.outputs.items()
            }
        # The new node must come after `source` and before its readers.
        items = list(self.nodes.items())
        position = 0 if source == IMAGES else list(self.nodes).index(source) + 1
        self.nodes = dict([*items[:position], (node.name, node), *items[position:]])

    def model(self) -> keras.Model:
        """Builds a functional float32 model of new layers that returns a dictionary of outputs."""
        images = keras.Input(self.input_shape, name=IMAGES)
        tensors = {IMAGES: images}
        opaque: dict[int, list[Any]] = {}
        for node in self:
            inputs = [tensors[name] for name in node.inputs]
            if node.call is not None:
                # A call with several results has a node for each, but is made only once.
                if id(node.call) not in opaque:
                    opaque[id(node.call)] = _called_again(node.call, inputs)
                tensors[node.name] = opaque[id(node.call)][node.result]
                continue
            layer = node.make()
            tensors[node.name] = layer(inputs) if node.listed else layer(*inputs)
            if node.weights:
                layer.set_weights([weight.astype(np.float32) for weight in node.weights])
        return keras.Model(images, {key: tensors[name] for key, name in self.outputs.items()})

    def observer(self) -> keras.Model:
        """Builds a model that returns the output of every node, by name."""
        model = self.model()
        return keras.Model(model.input, {name: model.get_layer(name).output for name in self.nodes})


def network_of(model: keras.Model) -> Network:
    """Separates a functional model, and models inside it, into nodes, or raises NotRewritable."""
    shape = getattr(model, "input_shape", None)
    if not hasattr(model, "_nodes_by_depth") or not isinstance(shape, tuple):
        raise NotRewritable(
            "`model` must be a functional keras.Model with one input. "
            f"Received: {type(model).__name__}"
        )
    network = Network(tuple(shape[1:]))
    outputs = append(network, model, (IMAGES,))
    network.outputs = dict(zip(output_names(model), outputs, strict=True))
    return network


def output_names(model: keras.Model) -> list[str]:
    """Returns the keys of a model's outputs, in the order of `model.outputs`.

    The key of a single tensor is "embedding".
    """
    # Keras also flattens dictionaries in the order of their keys.
    structure = model.output
    if isinstance(structure, dict):
        return sorted(structure)
    return ["embedding"] if len(model.outputs) == 1 else [str(i) for i in range(len(model.outputs))]


def append(network: Network, model: keras.Model, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Appends a functional model that reads `inputs`, and returns its outputs' node names."""
    names = {id(tensor): name for tensor, name in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for call in model._nodes_by_depth[depth]:
            if call.is_input:
                continue
            layer = call.operation
            given = tuple(names[id(tensor)] for tensor in call.arguments.keras_tensors)
            if isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth"):
                results = append(network, layer, given)
            else:
                results = tuple(network.add(node) for node in _nodes(call, layer, given))
            names.update((id(t), n) for t, n in zip(call.outputs, results, strict=True))
    return tuple(names[id(tensor)] for tensor in model.outputs)


def _nodes(call: Any, layer: Any, inputs: tuple[str, ...]) -> list[Node]:
    """Returns the nodes of a call: one, or one per result if a configuration cannot express it."""
    first = call.arguments.args[0] if call.arguments.args else None
    listed = isinstance(first, list | tuple)
    plain = len(call.arguments.args) == (1 if listed else len(inputs))
    # An inference graph does not need the keywords `training` and `mask`.
    keywords = set(call.arguments.kwargs) - {"training", "mask"}
    shapes = [tuple(tensor.shape[1:]) for tensor in call.outputs]
    if isinstance(layer, keras.layers.Layer) and plain and not keywords and len(shapes) == 1:
        return [replace(Node.of(layer, inputs, shapes[0]), listed=listed)]
    return [
        Node(layer.name, Opaque, {}, (), inputs, shape, call=call, result=result)
        for result, shape in enumerate(shapes)
    ]


def _called_again(call: Any, inputs: list[Any]) -> list[Any]:
    """Repeats a call with other tensors, the same layer and the same weights."""
    given = {id(t): new for t, new in zip(call.arguments.keras_tensors, inputs, strict=True)}
    arguments, keywords = call.arguments.fill_in(given)
    return keras.tree.flatten(call.operation(*arguments, **keywords))
