"""Reading of face networks in ONNX by the structure of the graph.

Exporters rename tensors and fold batch normalisations into convolutions, so names are ignored. The
inputs of an operator show which initialisers are its weights.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.files import PathLike
from gfkeras.onnx_files import load_onnx, try_onnx
from gfkeras.preflight import check_in_child
from gfkeras.zoo.foreign.network import (
    INSIGHTFACE_PIXEL_SCALE,
    ForeignNetwork,
    Op,
    Ops,
    float32,
    layer_weights,
)

# A graph of this many bytes can take about a hundred times as much memory.
_SMALL = 2 << 20
# Operators without an effect at inference. Flattening does not matter to the FC after it.
_PASSES = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Cast", "Unsqueeze")


def is_onnx(path: Path, data: bytes) -> bool:
    """Whether a file can be ONNX. Protocol buffers have no signature, so the suffix counts."""
    return path.suffix.lower() == ".onnx" or data[:1] == b"\x08"


def read_onnx_network(path: PathLike) -> ForeignNetwork:
    """Reads the network of an `.onnx` file.

    The graph can begin with a normalisation (x − 127.5)·s. Without one, its input is expected to be
    (x − 127.5)/127.5, as in InsightFace.
    """
    path = Path(path)
    if path.stat().st_size > _SMALL:
        check_in_child(try_onnx, path, "an ONNX model")
    model = load_onnx(path, check=True)
    # Imported here, because `onnx` is optional.
    numpy_helper = require("onnx.numpy_helper", "onnx")
    reader = _Graph(path, model.graph, numpy_helper)
    return reader.network()


class _Graph:
    """The ops of an ONNX graph."""

    def __init__(self, path: Path, graph: Any, helper: Any):
        self.path = path
        self.helper = helper
        self.constants = {tensor.name: self._array(tensor) for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(
                f"{path} must have one input and one output. Received: {len(inputs)} and "
                f"{len(graph.output)}"
            )
        self.images = inputs[0]
        # Tensors that are a normalisation x·scale + shift of the pixels x.
        self.affine = {self.images: (1.0, 0.0)}
        self.aliases: dict[str, str] = {}
        self.ops = Ops(path)
        for node in graph.node:
            self._take(node)
        self.output = self._plain(graph.output[0].name)

    def network(self) -> ForeignNetwork:
        if not self.ops:
            raise ValueError(f"{self.path} has no layers")
        first = self.ops[0].inputs[0] if self.ops[0].inputs else self.images
        scale, shift = self.affine.get(first, (1.0, 0.0))
        if (scale, shift) == (1.0, 0.0):
            scale = INSIGHTFACE_PIXEL_SCALE
        elif not np.isclose(shift, -127.5 * scale, rtol=1e-5):
            raise ValueError(
                f"{self.path} must normalise pixels to (x − 127.5)·s. "
                f"Received: x·{scale:g} + {shift:g}"
            )
        return ForeignNetwork(self.path, self.ops, first, self.output, scale)

    def _take(self, node: Any) -> None:
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        if node.op_type == "Constant":
            value = attributes.get("value", attributes.get("value_float", 0.0))
            self.constants[node.output[0]] = np.asarray(value)
            return
        weights = [self.constants.get(name) for name in node.input]
        data = [self._plain(n) for n in node.input if n and n not in self.constants]
        if all(weight is not None for weight in weights) and weights:
            # Computed from constants only, such as a shape.
            return
        if node.op_type in _PASSES:
            self.aliases[node.output[0]] = data[0]
            return
        if self._normalises(node, data, weights):
            return
        self._layer(node, data, weights, attributes)

    def _layer(self, node: Any, data: list[str], weights: list[Any], attributes: Any) -> None:
        name = node.name or node.output[0]
        op = Op(node.op_type, name, data[:1], node.output[0])
        if node.op_type == "Add" and len(data) == 2:
            op.kind, op.inputs = "add", data
        elif node.op_type == "Add" and self._add_bias(node, data, weights):
            return
        elif node.op_type == "Relu":
            op.kind, op.slopes = "prelu", np.zeros(1, np.float32)
        elif node.op_type in _MEANINGS and all(w is not None for w in weights[1:]):
            _MEANINGS[node.op_type](op, layer_weights(weights[1:]), attributes)
        else:
            op.inputs = data
        self.ops.append(op)

    def _add_bias(self, node: Any, data: list[str], weights: list[Any]) -> bool:
        """Adds a bias to the FC before it: exporters write an FC as MatMul and Add."""
        bias = next(weight for weight in weights if weight is not None)
        for op in self.ops:
            if op.output == data[0] and op.kind == "dense" and op.bias is None:
                op.bias = float32(bias).ravel()
                self.aliases[node.output[0]] = op.output
                return True
        return False

    def _normalises(self, node: Any, data: list[str], weights: list[Any]) -> bool:
        """Handles Sub, Add, Mul and Div with one number as normalisation of the images.

        Returns whether the node is part of the normalisation.
        """
        if node.op_type not in ("Sub", "Add", "Mul", "Div") or not data:
            return False
        numbers = [weight for weight in weights if weight is not None]
        if data[0] not in self.affine or len(numbers) != 1 or np.unique(numbers[0]).size != 1:
            return False
        value = float(np.ravel(numbers[0])[0])
        reverse = weights[0] is not None
        if reverse and node.op_type in ("Sub", "Div"):
            return False
        scale, shift = self.affine[data[0]]
        self.affine[node.output[0]] = {
            "Sub": (scale, shift - value),
            "Add": (scale, shift + value),
            "Mul": (scale * value, shift * value),
            "Div": (scale / value, shift / value) if value else (scale, shift),
        }[node.op_type]
        return True

    def _plain(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _array(self, tensor: Any) -> np.ndarray:
        try:
            return np.asarray(self.helper.to_array(tensor))
        except Exception as error:
            raise ValueError(
                f"{self.path} is damaged: its tensor {tensor.name!r} cannot be read ({error})"
            ) from error

    def _attribute(self, attribute: Any) -> Any:
        if attribute.HasField("t"):
            return self._array(attribute.t)
        if attribute.ints:
            return list(attribute.ints)
        if attribute.HasField("f"):
            return attribute.f
        return attribute.i if attribute.HasField("i") else attribute.s.decode("utf-8", "replace")


def _conv(op: Op, weights: list[Any], attributes: dict[str, Any]) -> None:
    if weights[0].ndim != 4 or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return
    op.kind = "conv"
    op.kernel = float32(weights[0].transpose(2, 3, 1, 0))
    op.bias = weights[1] if len(weights) > 1 else None
    op.strides = tuple(attributes.get("strides", (1, 1)))
    op.dilation = tuple(attributes.get("dilations", (1, 1)))
    op.padding = tuple(attributes.get("pads", (0, 0, 0, 0)))
    op.groups = attributes.get("group", 1)


def _batch_normalization(op: Op, weights: list[Any], attributes: dict[str, Any]) -> None:
    op.kind = "bn"
    op.gamma, op.beta, op.mean, op.variance = weights[:4]
    op.epsilon = float(attributes.get("epsilon", 1e-5))


def _prelu(op: Op, weights: list[Any], attributes: dict[str, Any]) -> None:
    op.kind, op.slopes = "prelu", weights[0].ravel()


def _gemm(op: Op, weights: list[Any], attributes: dict[str, Any]) -> None:
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0:
        return
    op.kind = "dense"
    op.kernel = float32(weights[0].T if attributes.get("transB", 0) else weights[0])
    if len(weights) > 1:
        op.bias = weights[1].ravel() * np.float32(attributes.get("beta", 1.0))


def _matmul(op: Op, weights: list[Any], attributes: dict[str, Any]) -> None:
    op.kind, op.kernel = "dense", weights[0]


_MEANINGS = {
    "Conv": _conv,
    "BatchNormalization": _batch_normalization,
    "PRelu": _prelu,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
