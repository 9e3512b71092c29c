"""Networks of Keras_insightface in Keras files: `.h5` and `.keras`.

The module needs neither Keras 2 nor the code of the network. It reads the configuration as data and
builds no layers, so code in a Lambda layer never runs.
"""

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.archives import open_archive, read_member
from gfkeras.errors import reading
from gfkeras.files import PathLike, parsed_json
from gfkeras.hdf5 import open_hdf5
from gfkeras.zoo.foreign.network import ForeignNetwork, Op, Ops, float32, layer_weights

# The input of Keras_insightface's networks is (x − 127.5)·0.0078125.
KERAS_INSIGHTFACE_PIXEL_SCALE = 0.0078125
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
# Names of weights in `.keras` files by class. A number within the class is appended.
_GROUPS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "SeparableConv2D": "separable_conv2d",
    "BatchNormalization": "batch_normalization",
    "PReLU": "p_re_lu",
    "Dense": "dense",
}
_PASSES = ("Dropout", "SpatialDropout2D", "Flatten", "Reshape", "Activation")
# Classifiers after the embedding in Keras_insightface's training files. They are left out.
_CLASSIFIERS = ("NormDense", "NormDenseVPL")


def is_keras_archive(path: Path) -> bool:
    """Whether a file is a zip archive with a Keras configuration."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"config.json", "model.weights.h5"} <= set(archive.namelist())


def read_keras_network(path: PathLike) -> ForeignNetwork:
    """Reads the network of a complete functional model in a `.h5` or `.keras` file."""
    path = Path(path)
    with reading(path, "a Keras model"):
        if is_keras_archive(path):
            with open_archive(path) as archive:
                config = parsed_json(read_member(archive, "config.json"))
                weights = io.BytesIO(read_member(archive, "model.weights.h5"))
            with open_hdf5(path, weights) as file:
                return _Model(path, config, _Archive(file, config)).network()
        with open_hdf5(path) as file:
            if "model_config" not in file.attrs:
                raise ValueError(
                    f"{path} must be a complete model that model.save wrote. Received: an HDF5 "
                    "file without model_config, such as a file of weights"
                )
            config = parsed_json(file.attrs["model_config"])
            return _Model(path, config, _Hdf5(file["model_weights"])).network()


class _Hdf5:
    """Weights of a `.h5` file, which has one group for each layer."""

    def __init__(self, root: Any):
        self.root = root

    def weights(self, layer: str, kind: str) -> list[np.ndarray]:
        group = self.root[layer]
        names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]]
        return layer_weights(group[name] for name in names)


class _Archive:
    """Weights of a `.keras` file, which are numbered by class in the order of the layers."""

    def __init__(self, file: Any, config: dict[str, Any]):
        root = "layers" if "layers" in file else "_layer_checkpoint_dependencies"
        self.root = file[root]
        self.groups: dict[str, str] = {}
        counts: dict[str, int] = {}
        for layer in config["config"]["layers"]:
            kind = _GROUPS.get(layer["class_name"])
            if kind is not None:
                number = counts.get(kind, 0)
                counts[kind] = number + 1
                self.groups[_name(layer)] = f"{kind}_{number}" if number else kind

    def weights(self, layer: str, kind: str) -> list[np.ndarray]:
        group = self.root[self.groups[layer]]["vars"]
        return layer_weights(group[str(index)] for index in range(len(group)))


class _Model:
    """The ops in the configuration of a functional model."""

    def __init__(self, path: Path, config: dict[str, Any], weights: Any):
        if config.get("class_name") not in ("Functional", "Model"):
            raise ValueError(
                f"{path} must be a functional model. Received: {config.get('class_name')!r}"
            )
        self.path = path
        self.weights = weights
        self.ops = Ops(path)
        self.aliases: dict[str, str] = {}
        # Padded tensors: the tensor before padding, and the zeros (top, left, bottom, right).
        self.padded: dict[str, tuple[str, tuple[int, int, int, int]]] = {}
        # Height and width of each tensor, which SAME padding depends on.
        self.sizes: dict[str, tuple[int, int]] = {}
        self.images = ""
        self.output = ""
        for layer in config["config"]["layers"]:
            self._take(layer)

    def network(self) -> ForeignNetwork:
        if not self.images or not self.ops:
            raise ValueError(f"{self.path} has no network that takes images")
        ends, scale = (self.images, self.output), KERAS_INSIGHTFACE_PIXEL_SCALE
        return ForeignNetwork(self.path, self.ops, *ends, scale, channels_first=False)

    def _take(self, layer: dict[str, Any]) -> None:
        kind, name, config = layer["class_name"], _name(layer), layer["config"]
        if kind == "InputLayer":
            shape = config.get("batch_shape") or config["batch_input_shape"]
            self.images = self.images or name
            self.sizes[name] = (shape[1], shape[2])
            return
        inputs = [self.aliases.get(tensor, tensor) for tensor in _inputs(layer)]
        if kind in _CLASSIFIERS:
            return
        self.output = name
        if kind in _PASSES and config.get("activation", "linear") == "linear":
            self.aliases[name] = inputs[0]
            self.output = inputs[0]
        elif kind == "ZeroPadding2D":
            (top, bottom), (left, right) = config["padding"]
            self.padded[name] = (inputs[0], (top, left, bottom, right))
        else:
            self._layer(kind, name, config, inputs)

    def _layer(self, kind: str, name: str, config: dict[str, Any], inputs: list[str]) -> None:
        op = Op(kind, name, inputs, name)
        self.sizes[name] = self.sizes.get(inputs[0], (1, 1))
        if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
            self._convolution(kind, op, config)
        elif kind == "Dense":
            kernel, *bias = self.weights.weights(name, kind)
            op.kind, op.kernel, op.bias = "dense", kernel, bias[0] if bias else None
        elif kind == "BatchNormalization":
            self._batch_normalization(op, config)
        elif kind == "PReLU":
            op.kind, op.slopes = "prelu", self.weights.weights(name, kind)[0].ravel()
        elif kind in ("ReLU", "Activation") and _is_relu(kind, config):
            op.kind, op.slopes = "prelu", np.zeros(1, np.float32)
        elif kind == "Add":
            op.kind = "add"
        self.ops.append(op)
        if config.get("activation", "linear") != "linear" and op.kind in ("conv", "dense"):
            # An unknown kind: the comparison names it as the first layer that differs.
            op.kind = f"{kind} with {config['activation']}"

    def _convolution(self, kind: str, op: Op, config: dict[str, Any]) -> None:
        tensor, zeros = self.padded.get(op.inputs[0], (op.inputs[0], (0, 0, 0, 0)))
        height, width = self.sizes[tensor]
        height, width = height + zeros[0] + zeros[2], width + zeros[1] + zeros[3]
        (rows, columns), strides = _pair(config["kernel_size"]), _pair(config["strides"])
        weights = self.weights.weights(op.name, kind)
        kernel = weights.pop(0)
        if config["padding"] == "same":
            top, bottom = _same(height, rows, strides[0])
            left, right = _same(width, columns, strides[1])
        else:
            top = bottom = left = right = 0
        op.inputs = [tensor]
        op.strides, op.dilation = strides, _pair(config.get("dilation_rate", 1))
        op.padding = (zeros[0] + top, zeros[1] + left, zeros[2] + bottom, zeros[3] + right)
        self.sizes[op.output] = (
            (height + top + bottom - rows) // strides[0] + 1,
            (width + left + right - columns) // strides[1] + 1,
        )
        op.kind = "conv"
        if kind == "Conv2D":
            op.kernel, op.groups = kernel, config.get("groups", 1)
        else:
            if kernel.shape[3] != 1:
                op.kind = f"{kind} with several filters per channel"
            op.kernel, op.groups = float32(kernel.transpose(0, 1, 3, 2)), kernel.shape[2]
        if kind == "SeparableConv2D":
            # Two convolutions: a depthwise one, then a pointwise one with the bias.
            between = f"{op.name} between its convolutions"
            self.ops.append(dataclasses.replace(op, output=between))
            op.inputs, op.kernel, op.groups = [between], weights.pop(0), 1
            op.strides, op.padding = (1, 1), (0, 0, 0, 0)
        op.bias = weights[0] if weights else None

    def _batch_normalization(self, op: Op, config: dict[str, Any]) -> None:
        weights = self.weights.weights(op.name, "BatchNormalization")
        op.kind, op.epsilon = "bn", float(config["epsilon"])
        op.gamma = weights.pop(0) if config.get("scale", True) else None
        op.beta = weights.pop(0) if config.get("center", True) else None
        op.mean, op.variance = weights


def _name(layer: dict[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _inputs(layer: dict[str, Any]) -> list[str]:
    """Returns the names of a layer's input layers, as written by Keras 2 or Keras 3."""
    nodes = layer["inbound_nodes"]
    if not nodes:
        return []
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                found.append(str(value["config"]["keras_history"][0]))
                return
            value = list(value.values())
        # Keras 2: [name, node, tensor, keywords].
        if isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str):
            found.append(value[0])
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(nodes[0])
    return found


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, list) else (int(value), int(value))


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns TensorFlow's SAME padding, which can be one-sided at stride 2."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _is_relu(kind: str, config: dict[str, Any]) -> bool:
    if kind == "Activation":
        return bool(config.get("activation") == "relu")
    return config.get("max_value") is None and not config.get("negative_slope")
