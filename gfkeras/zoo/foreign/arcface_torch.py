"""State dicts of InsightFace's arcface_torch: IResNet and MobileFaceNet.

A state dict has names but no graph. This module builds the graph of the published code
(`recognition/arcface_torch/backbones`) from the names of its modules.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gfkeras.zoo.foreign.network import ForeignNetwork, Op, float32, listing

# The default of PyTorch's batch normalisation, which arcface_torch uses.
_EPSILON = 1e-5
# Strides of `MobileFaceNet.layers` from index 2. Blocks of stride 2 have no shortcut.
_MOBILEFACENET_STRIDES = (2, 1, 2, 1, 2, 1)
# Prefixes that wrappers, such as DataParallel, add to every name.
_PREFIXES = ("module.", "backbone.", "model.", "net.")


def arcface_torch_network(path: Path, arrays: Mapping[str, np.ndarray]) -> ForeignNetwork:
    """Returns the network of a state dict, which maps names to values in PyTorch's layouts.

    Raises ValueError if the names are not those of a supported network, or if names are missing or
    left over.
    """
    arrays = without_prefix(arrays)
    builder = _Builder(path, arrays)
    if "conv1.weight" in arrays and "layer1.0.conv1.weight" in arrays:
        output = _iresnet(builder)
    elif "layers.0.layers.0.weight" in arrays and "conv_sep.layers.0.weight" in arrays:
        output = _mobilefacenet(builder)
    else:
        raise ValueError(
            f"{path} must be the state dict of an IResNet or a MobileFaceNet of arcface_torch, "
            "or of facenet-pytorch's InceptionResnetV1. "
            f"Received: the names {listing(arrays) or 'of nothing'}"
        )
    # `num_batches_tracked` counts training steps and does not change the embeddings.
    unused = [name for name in arrays if name not in builder.used]
    if left := [name for name in unused if not name.endswith("num_batches_tracked")]:
        raise ValueError(
            f"{path} differs from arcface_torch's network: it also has {listing(left)}"
        )
    return ForeignNetwork(path, builder.ops, "images", output)


def without_prefix(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a state dict without a prefix of all names, such as "module." of DataParallel."""
    names = [name for name in arrays if not name.endswith("num_batches_tracked")]
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return {name.removeprefix(prefix): value for name, value in arrays.items()}
    return dict(arrays)


class _Builder:
    """Builds ops from the values of modules."""

    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray]):
        self.path = path
        self.arrays = arrays
        self.ops: list[Op] = []
        self.used: set[str] = set()
        # Channels of each tensor. A state dict does not state groups, but they follow from these.
        self.channels = {"images": 3}

    def conv(self, x: str, name: str, stride: int, padding: int) -> str:
        kernel = self._value(name, "weight", 4).transpose(2, 3, 1, 0)
        return self._add(
            Op("conv", name, [x], name, kernel=float32(kernel), strides=(stride, stride),
               padding=(padding,) * 4, groups=max(1, self.channels[x] // kernel.shape[2])),
            kernel.shape[3],
        )  # fmt: skip

    def bn(self, x: str, name: str) -> str:
        names = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (self._value(name, part, 1) for part in names)
        return self._add(
            Op("bn", name, [x], name, gamma=gamma, beta=beta, mean=mean, variance=variance,
               epsilon=_EPSILON)
        )  # fmt: skip

    def prelu(self, x: str, name: str) -> str:
        return self._add(Op("prelu", name, [x], name, slopes=self._value(name, "weight", 1)))

    def dense(self, x: str, name: str) -> str:
        bias = self._value(name, "bias", 1) if f"{name}.bias" in self.arrays else None
        kernel = float32(self._value(name, "weight", 2).T)
        return self._add(Op("dense", name, [x], name, kernel=kernel, bias=bias))

    def add(self, x: str, y: str, name: str) -> str:
        return self._add(Op("add", name, [x, y], name))

    def block(self, x: str, name: str, stride: int, padding: int, prelu: bool = True) -> str:
        """Adds a ConvBlock or LinearBlock of arcface_torch's MobileFaceNet."""
        x = self.bn(self.conv(x, f"{name}.layers.0", stride, padding), f"{name}.layers.1")
        return self.prelu(x, f"{name}.layers.2") if prelu else x

    def has(self, name: str) -> bool:
        return name in self.arrays

    def _add(self, op: Op, channels: int | None = None) -> str:
        self.ops.append(op)
        self.channels[op.output] = self.channels[op.inputs[0]] if channels is None else channels
        return op.output

    def _value(self, module: str, part: str, dimensions: int) -> np.ndarray:
        name = f"{module}.{part}"
        if name not in self.arrays:
            raise ValueError(f"{self.path} differs from arcface_torch's network: it lacks {name!r}")
        value = float32(self.arrays[name])
        if value.ndim != dimensions:
            raise ValueError(
                f"{self.path} differs from arcface_torch's network at {name!r}: expected "
                f"{dimensions} dimensions. Received: shape {value.shape}"
            )
        self.used.add(name)
        return value


def _iresnet(builder: _Builder) -> str:
    x = builder.bn(builder.conv("images", "conv1", 1, 1), "bn1")
    x = builder.prelu(x, "prelu")
    for stage in (1, 2, 3, 4):
        unit = 0
        while builder.has(f"layer{stage}.{unit}.conv1.weight"):
            x = _iresnet_block(builder, x, f"layer{stage}.{unit}", 1 if unit else 2)
            unit += 1
    x = builder.bn(x, "bn2")
    return builder.bn(builder.dense(x, "fc"), "features")


def _iresnet_block(builder: _Builder, x: str, name: str, stride: int) -> str:
    shortcut = x
    if builder.has(f"{name}.downsample.0.weight"):
        shortcut = builder.conv(x, f"{name}.downsample.0", stride, 0)
        shortcut = builder.bn(shortcut, f"{name}.downsample.1")
    y = builder.bn(x, f"{name}.bn1")
    y = builder.bn(builder.conv(y, f"{name}.conv1", 1, 1), f"{name}.bn2")
    y = builder.prelu(y, f"{name}.prelu")
    y = builder.bn(builder.conv(y, f"{name}.conv2", stride, 1), f"{name}.bn3")
    return builder.add(y, shortcut, name)


def _mobilefacenet(builder: _Builder) -> str:
    x = builder.block("images", "layers.0", 2, 1)
    if builder.has("layers.1.layers.0.layers.0.layers.0.weight"):
        x = _residual(builder, x, "layers.1")  # `mbf_large`
    else:
        x = builder.block(x, "layers.1", 1, 1)
    for index, stride in enumerate(_MOBILEFACENET_STRIDES, start=2):
        name = f"layers.{index}"
        x = _depthwise(builder, x, name, 2) if stride == 2 else _residual(builder, x, name)
    x = builder.block(x, "conv_sep", 1, 0)
    x = builder.block(x, "features.layers.0", 1, 0, prelu=False)
    return builder.bn(builder.dense(x, "features.layers.2"), "features.layers.3")


def _depthwise(builder: _Builder, x: str, name: str, stride: int) -> str:
    x = builder.block(x, f"{name}.layers.0", 1, 0)
    x = builder.block(x, f"{name}.layers.1", stride, 1)
    return builder.block(x, f"{name}.layers.2", 1, 0, prelu=False)


def _residual(builder: _Builder, x: str, name: str) -> str:
    index = 0
    while builder.has(f"{name}.layers.{index}.layers.0.layers.0.weight"):
        block = f"{name}.layers.{index}"
        x = builder.add(x, _depthwise(builder, x, block, 1), block)
        index += 1
    return x
