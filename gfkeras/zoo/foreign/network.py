"""Common form of networks from other frameworks."""

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfkeras.archives import require_bounded

Array = npt.NDArray[np.float32]

# A batch normalisation has four arrays, and no layer has more than twice as many.
_MOST_WEIGHTS = 8
# InsightFace's PyTorch code normalises pixels to (x − 127.5) / 127.5 outside the network.
INSIGHTFACE_PIXEL_SCALE = 1 / 127.5


class Convolution(NamedTuple):
    """The shape of a convolution, for comparisons."""

    height: int
    width: int
    channels: int
    filters: int
    groups: int
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        dilation = "" if set(self.dilation) == {1} else f", dilation {_short(self.dilation)}"
        return (
            f"({self.height}x{self.width}, {self.channels} to {self.filters} channels, "
            f"{self.groups} groups, stride {_short(self.strides)}, "
            f"padding {_short(self.padding)}{dilation})"
        )


@dataclasses.dataclass
class Op:
    """A layer of an imported network: "conv", "dense", "bn", "prelu", "add", or another kind.

    `name` is that in the file, for messages. `inputs` and `output` are names of tensors. A kernel
    is (height, width, channels / groups, filters) for "conv" and (inputs, units) for "dense". The
    bias, (filters,), can contain a folded batch normalisation. `slopes`, (channels,), are zeros for
    a ReLU. `padding` are the added zeros (top, left, bottom, right). With as many groups as
    channels, a convolution is depthwise.
    """

    kind: str
    name: str
    inputs: list[str]
    output: str
    kernel: Array | None = None
    bias: Array | None = None
    slopes: Array | None = None
    gamma: Array | None = None
    beta: Array | None = None
    mean: Array | None = None
    variance: Array | None = None
    epsilon: float = 1e-5
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    @property
    def convolution(self) -> Convolution | None:
        """The shape of a convolution, or None for another op."""
        if self.kind != "conv" or self.kernel is None:
            return None
        height, width, per_group, filters = self.kernel.shape
        ends = (per_group * self.groups, filters, self.groups)
        return Convolution(height, width, *ends, self.strides, self.padding, self.dilation)

    def __str__(self) -> str:
        said = f"{self.kind} {self.name!r}"
        if self.convolution is not None:
            return f"{said} {self.convolution}"
        if self.kind == "dense" and self.kernel is not None:
            return f"{said} ({self.kernel.shape[0]} to {self.kernel.shape[1]})"
        values = self.slopes if self.kind == "prelu" else self.mean
        return said if values is None else f"{said} ({values.size} channels)"


class Ops(list[Op]):
    """The ops of a file, with a bound on their weights.

    A graph can use the same weights for any number of layers, and each use takes memory.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path, self._bytes = path, 0

    def append(self, op: Op) -> None:
        """Adds an op. Raises ValueError if the weights are too large for the file."""
        arrays = (op.kernel, op.bias, op.slopes, op.gamma, op.beta, op.mean, op.variance)
        self._bytes += sum(array.nbytes for array in arrays if array is not None)
        require_bounded(self._path, self._bytes, self._path.stat().st_size)
        super().append(op)


def _short(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else str(values)


@dataclasses.dataclass
class ForeignNetwork:
    """A network read from a file, with its layers in the order of computation.

    `input` and `output` are the tensors of images and embeddings. `pixel_scale` is the factor s in
    (pixel − 127.5) · s, in the graph or before it. `channels_first` says in which order feature
    maps are flattened, which is that of the rows of the next FC.
    """

    path: Path
    ops: list[Op]
    input: str
    output: str
    pixel_scale: float = INSIGHTFACE_PIXEL_SCALE
    channels_first: bool = True

    def consumers(self, tensor: str) -> list[Op]:
        """Returns the ops that take a tensor."""
        return [op for op in self.ops if tensor in op.inputs]

    @property
    def convolutions(self) -> list[Op]:
        """All convolutions, in order."""
        return [op for op in self.ops if op.kind == "conv"]


def float32(array: object) -> Array:
    """Returns an array as contiguous float32."""
    return np.ascontiguousarray(array, np.float32)


def layer_weights(arrays: Iterable[object]) -> list[Array]:
    """Returns a layer's weights as float32. Raises ValueError if there are too many arrays."""
    found = list(itertools.islice(arrays, _MOST_WEIGHTS + 1))
    if len(found) > _MOST_WEIGHTS:
        raise ValueError(f"a layer has more than {_MOST_WEIGHTS} arrays of weights")
    return [float32(array) for array in found]


def first_bytes(path: Path, count: int = 512) -> bytes:
    """Returns the first bytes of a file, which show its format."""
    with path.open("rb") as file:
        return file.read(count)


def listing(names: Iterable[str], most: int = 3) -> str:
    """Returns the first names as text, and the number of further names."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(map(repr, found[:most])) + more
