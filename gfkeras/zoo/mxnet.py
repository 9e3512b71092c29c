"""Weights of InsightFace's MXNet MobileFaceNet, read without MXNet."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.backbones import MobileFaceNet

# MXNet's NDArray list: `kMXAPINDArrayListMagic`, then per array V2 of its format.
_LIST_MAGIC = 0x112
_ARRAY_MAGIC_V2 = 0xF993FAC9
_DENSE_STORAGE = 0
_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8,
           6: np.int64}  # fmt: skip
_MAX_DIMENSIONS = 32


class _Reader:
    """Little-endian fields of a byte string, which ends nowhere silently."""

    def __init__(self, data: bytes, path: Path):
        self.data, self.path, self.offset = data, path, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.offset + size > len(self.data):
            raise ValueError(
                f"{self.path} is truncated or damaged: {size} bytes expected at offset "
                f"{self.offset} of {len(self.data)}"
            )
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def field(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]


def read_mxnet_params(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads an MXNet `.params` file.

    Args:
        path: the file, written by MXNet 1.x (`mx.nd.save` or a checkpoint).

    Returns:
        Name to array, with MXNet's prefixes "arg:" and "aux:" in the names.

    Raises:
        ValueError: if it is no such file, or is truncated or damaged.
    """
    path = Path(path)
    reader = _Reader(path.read_bytes(), path)
    if len(reader.data) < 24 or reader.field("Q") != _LIST_MAGIC:
        raise ValueError(f"{path} is not an MXNet .params file: its first bytes are not 0x112")
    reader.field("Q")
    arrays = []
    for _ in range(reader.field("Q")):
        if (magic := reader.field("I")) != _ARRAY_MAGIC_V2:
            raise ValueError(f"{path} holds an array of unknown format {magic:#x}")
        if (storage := reader.field("i")) != _DENSE_STORAGE:
            raise ValueError(f"{path} holds an array of sparse storage type {storage}")
        dimensions = reader.field("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"{path} is damaged: an array of {dimensions} dimensions")
        shape = tuple(reader.field("q") for _ in range(dimensions))
        reader.take(8)  # The device it was saved from.
        code = reader.field("i")
        if code not in _DTYPES or any(side < 0 for side in shape):
            raise ValueError(f"{path} is damaged: dtype {code}, shape {shape}")
        dtype = np.dtype(_DTYPES[code])
        # Python's integers: a hostile shape cannot overflow into a small size.
        size = dtype.itemsize
        for side in shape:
            size *= side
        arrays.append(np.frombuffer(reader.take(size), dtype).reshape(shape))
    count = reader.field("Q")
    if count != len(arrays):
        raise ValueError(f"{path} is damaged: {len(arrays)} arrays and {count} names")
    names = [reader.take(reader.field("Q")).decode("utf-8") for _ in range(count)]
    return dict(zip(names, arrays, strict=True))


def import_mxnet(
    params: str | os.PathLike[str], symbol: str | os.PathLike[str] | None = None
) -> MobileFaceNet:
    """InsightFace's MXNet MobileFaceNet as a `gfkeras.backbones.MobileFaceNet`.

    The graph's order, not its names, decides what goes where. The batch
    normalisations' eps (1e-3 unless the graph says otherwise) and `fix_gamma` are
    honoured exactly: a scale of γ·√((σ² + ε')/(σ² + ε)) with our ε' gives the same
    function. The bias before the last one goes into its mean.

    Args:
        params: the `.params` file.
        symbol: the `-symbol.json`; None looks beside `params` for the file whose
            name has `-symbol.json` in place of the epoch's number.

    Returns:
        The backbone, with the `embedding_dim` of the file.

    Raises:
        ValueError: naming the first layer that does not fit, or the damaged file.
    """
    params = Path(params)
    if symbol is None:
        symbol = params.with_name(params.name.rpartition("-")[0] + "-symbol.json")
    symbol = Path(symbol)
    arrays = {name.split(":", 1)[-1]: a for name, a in read_mxnet_params(params).items()}
    try:
        nodes = json.loads(symbol.read_text(encoding="utf-8"))["nodes"]
    except FileNotFoundError:
        raise ValueError(f"`symbol` must be the network's JSON file: {symbol} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{symbol} is not an MXNet symbol file: {error!r}") from error

    scale, embedding_dim = 1 / 127.5, None
    for node in nodes:
        if node["op"] == "_mul_scalar":
            scale = float(_attributes(node)["scalar"])
        elif node["op"] == "FullyConnected":
            embedding_dim = int(_attributes(node)["num_hidden"])
    if embedding_dim is None:
        raise ValueError(f"{symbol} has no FullyConnected layer that gives an embedding")
    model = MobileFaceNet(embedding_dim=embedding_dim, pixel_scale=scale, bn_epsilon=1e-3)
    targets = iter(
        layer
        for layer in model.layers
        if isinstance(
            layer,
            (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense,
             keras.layers.BatchNormalization, keras.layers.PReLU),
        )
    )  # fmt: skip
    bias = None
    for node in nodes:
        if node["op"] not in ("Convolution", "FullyConnected", "BatchNorm", "LeakyReLU"):
            continue
        inputs = [arrays.get(nodes[i[0]]["name"]) for i in node["inputs"][1:]]
        layer = next(targets, None)
        values, bias = _converted(node, inputs, bias, layer)
        _assign(layer, values, node)
    if (left := next(targets, None)) is not None:
        raise ValueError(f"{symbol} ends before the layer {left.name!r} of MobileFaceNet")
    return model


def _attributes(node: dict[str, Any]) -> dict[str, str]:
    # The key changed with MXNet's versions.
    return node.get("attrs") or node.get("attr") or node.get("param") or {}


def _converted(
    node: dict[str, Any], inputs: list[Any], bias: Any, layer: Any
) -> tuple[list[np.ndarray], Any]:
    """The node's weights in Keras' layout, and the bias that the next BN absorbs."""
    attributes, op = _attributes(node), node["op"]
    if any(array is None for array in inputs):
        raise ValueError(f"The parameters of the layer {node['name']!r} are missing")
    inputs = [np.asarray(array, np.float32) for array in inputs]
    if op == "Convolution":
        kernel = np.transpose(inputs[0], (2, 3, 1, 0))
        if int(attributes.get("num_group", 1)) > 1:
            kernel = np.transpose(kernel, (0, 1, 3, 2))
        return [kernel], None
    if op == "FullyConnected":
        return [inputs[0].T], inputs[1] if len(inputs) > 1 else None
    if op == "LeakyReLU":
        return [inputs[0].reshape(1, 1, -1)], None
    gamma, beta, mean, variance = inputs
    if attributes.get("fix_gamma", "True") == "True":
        gamma = np.ones_like(gamma)
    if bias is not None:
        mean = mean - bias
    epsilon = float(attributes.get("eps", 1e-3))
    ours = getattr(layer, "epsilon", epsilon)
    gamma = gamma * np.sqrt((variance + ours) / (variance + epsilon))
    return [gamma, beta, mean, variance], None


def _assign(layer: Any, values: list[np.ndarray], node: dict[str, Any]) -> None:
    expected = None if layer is None else [tuple(w.shape) for w in layer.weights]
    received = [v.shape for v in values]
    if expected != received:
        place = "the end" if layer is None else f"the layer {layer.name!r}"
        raise ValueError(
            f"The network differs from MobileFaceNet at {place}: expected weights of shapes "
            f"{expected}. Received: {node['op']} {node['name']!r} with {received}"
        )
    layer.set_weights(values)
