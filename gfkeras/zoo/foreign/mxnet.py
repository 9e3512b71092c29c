"""Reading of InsightFace's MXNet networks without MXNet: `.params` and `-symbol.json`."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import reading
from gfkeras.files import PathLike, parsed_json, settings_text
from gfkeras.zoo.foreign.network import (
    INSIGHTFACE_PIXEL_SCALE,
    ForeignNetwork,
    Op,
    Ops,
    float32,
    layer_weights,
)

# MXNet's NDArray list: `kMXAPINDArrayListMagic`, then each array in version 2 of the format.
_LIST_MAGIC = 0x112
_ARRAY_MAGIC_V2 = 0xF993FAC9
_DENSE_STORAGE = 0
_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8,
           6: np.int64}  # fmt: skip
_MAX_DIMENSIONS = 32


class _Reader:
    """Little-endian fields of a byte string. Reading beyond the end is an error."""

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


def read_mxnet_params(path: PathLike) -> dict[str, np.ndarray]:
    """Reads an MXNet 1.x `.params` file (`mx.nd.save` or a checkpoint).

    The names of the arrays have MXNet's prefixes "arg:" and "aux:". Raises ValueError if the file
    is damaged or another kind of file.
    """
    path = Path(path)
    reader = _Reader(path.read_bytes(), path)
    if len(reader.data) < 24 or reader.field("Q") != _LIST_MAGIC:
        raise ValueError(f"{path} is not an MXNet .params file: its first bytes are not 0x112")
    reader.field("Q")
    arrays = []
    for _ in range(reader.field("Q")):
        if (magic := reader.field("I")) != _ARRAY_MAGIC_V2:
            raise ValueError(f"{path} has an array of unknown format {magic:#x}")
        if (storage := reader.field("i")) != _DENSE_STORAGE:
            raise ValueError(f"{path} has an array of sparse storage type {storage}")
        dimensions = reader.field("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"{path} is damaged: an array of {dimensions} dimensions")
        shape = tuple(reader.field("q") for _ in range(dimensions))
        reader.take(8)  # Skip the device that saved the array.
        code = reader.field("i")
        if code not in _DTYPES or any(side < 0 for side in shape):
            raise ValueError(f"{path} is damaged: dtype {code}, shape {shape}")
        dtype = np.dtype(_DTYPES[code])
        # Python integers do not overflow, so a forged shape cannot pass as a small size.
        size = dtype.itemsize
        for side in shape:
            size *= side
        arrays.append(np.frombuffer(reader.take(size), dtype).reshape(shape))
    count = reader.field("Q")
    if count != len(arrays):
        raise ValueError(f"{path} is damaged: {len(arrays)} arrays and {count} names")
    names = [reader.take(reader.field("Q")).decode("utf-8") for _ in range(count)]
    return dict(zip(names, arrays, strict=True))


def is_mxnet(data: bytes) -> bool:
    """Whether a file that begins with `data` is an MXNet `.params` file."""
    return len(data) >= 8 and struct.unpack("<Q", data[:8])[0] == _LIST_MAGIC


def read_mxnet_network(params: PathLike, symbol: PathLike | None = None) -> ForeignNetwork:
    """Reads the network of a `.params` file and its `-symbol.json`.

    By default, `symbol` has the same name, with `-symbol.json` instead of the epoch's number.
    """
    params = Path(params)
    if symbol is None:
        symbol = params.with_name(params.name.rpartition("-")[0] + "-symbol.json")
    symbol = Path(symbol)
    arrays = {name.split(":", 1)[-1]: a for name, a in read_mxnet_params(params).items()}
    if not symbol.exists():
        raise ValueError(f"`symbol` must be the network's JSON file: {symbol} is missing")
    with reading(symbol, "an MXNet symbol file"):
        nodes = parsed_json(settings_text(symbol))["nodes"]
        reader = _Symbol(symbol, params, arrays)
        for node in nodes:
            reader.take(node, [nodes[entry[0]]["name"] for entry in node["inputs"]])
    return reader.network()


class _Symbol:
    """The ops of a symbol file."""

    def __init__(self, path: Path, params: Path, arrays: dict[str, np.ndarray]):
        self.path, self.params = path, params
        self.arrays = arrays
        self.ops = Ops(params)
        self.scale: float | None = None
        # Names of tensors that are equal to another tensor.
        self.aliases: dict[str, str] = {}
        self.images = "data"

    def take(self, node: dict[str, Any], inputs: list[str]) -> None:
        """Adds one node of the graph."""
        op, name = node["op"], node["name"]
        if op == "null":
            return
        attributes = _attributes(node)
        data = [self.aliases.get(tensor, tensor) for tensor in inputs if tensor not in self.arrays]
        if op in ("_minus_scalar", "_mul_scalar"):
            value = float(attributes["scalar"])
            if data == [self.images] and (op == "_mul_scalar" or value == 127.5):
                self.scale = value if op == "_mul_scalar" else self.scale
                self.aliases[name] = data[0]
                return
        if op in ("Flatten", "Dropout", "identity", "BlockGrad", "_copy", "Cast", "Reshape"):
            self.aliases[name] = data[0]
            return
        weights = [self.arrays.get(tensor) for tensor in inputs[1:]]
        found = Op(op, name, data, name)
        if op in ("Convolution", "FullyConnected", "BatchNorm"):
            if any(weight is None for weight in weights):
                raise ValueError(f"The parameters of the layer {name!r} are missing")
            found.inputs = data[:1]
            _MEANINGS[op](found, layer_weights(weights), attributes)
        elif op == "LeakyReLU" and attributes.get("act_type") == "prelu":
            if not weights or weights[0] is None:
                raise ValueError(f"The parameters of the layer {name!r} are missing")
            found.kind, found.inputs, found.slopes = "prelu", data[:1], float32(weights[0]).ravel()
        elif op == "Activation" and attributes.get("act_type") == "relu":
            found.kind, found.slopes = "prelu", np.zeros(1, np.float32)
        elif op in ("elemwise_add", "_Plus", "_plus", "broadcast_add", "_add"):
            found.kind = "add"
        self.ops.append(found)

    def network(self) -> ForeignNetwork:
        if not self.ops:
            raise ValueError(f"{self.path} has no layers")
        scale = INSIGHTFACE_PIXEL_SCALE if self.scale is None else self.scale
        return ForeignNetwork(self.params, self.ops, self.images, self.ops[-1].output, scale)


def _attributes(node: dict[str, Any]) -> dict[str, str]:
    # The key depends on the version of MXNet.
    return node.get("attrs") or node.get("attr") or node.get("param") or {}


def _sides(text: str | None, default: int) -> tuple[int, int]:
    """Returns the two sides of a shape in MXNet's form "(3, 3)", or the default."""
    if not text:
        return default, default
    values = [int(value) for value in text.strip("()[] ").split(",") if value.strip()]
    return values[0], values[-1]


def _convolution(op: Op, weights: list[Any], attributes: dict[str, str]) -> None:
    op.kind = "conv"
    op.kernel = float32(weights[0].transpose(2, 3, 1, 0))
    op.bias = weights[1] if len(weights) > 1 else None
    op.strides = _sides(attributes.get("stride"), 1)
    op.dilation = _sides(attributes.get("dilate"), 1)
    rows, columns = _sides(attributes.get("pad"), 0)
    op.padding = (rows, columns, rows, columns)
    op.groups = int(attributes.get("num_group", 1))


def _fully_connected(op: Op, weights: list[Any], attributes: dict[str, str]) -> None:
    op.kind = "dense"
    op.kernel = float32(weights[0].T)
    op.bias = weights[1] if len(weights) > 1 else None


def _batch_norm(op: Op, weights: list[Any], attributes: dict[str, str]) -> None:
    op.kind = "bn"
    op.gamma, op.beta, op.mean, op.variance = weights
    # With `fix_gamma`, MXNet's default, γ is 1 and the values in the file are ignored.
    if attributes.get("fix_gamma", "True") in ("True", "1"):
        op.gamma = np.ones_like(op.gamma)
    op.epsilon = float(attributes.get("eps", 1e-3))


_MEANINGS = {
    "Convolution": _convolution,
    "FullyConnected": _fully_connected,
    "BatchNorm": _batch_norm,
}
