"""Choice of a backbone of gfkeras for an imported network, and the matching of the two.

Both graphs are followed together, starting at the images. A layer gets its weights by its place in
the graph. Names in the file do not matter. Another shortcut, stride or padding is a difference,
like a missing layer. The first layer without a counterpart ends the import with an error.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from gfkeras.backbones import Backbone, IResNet18, IResNet34, IResNet50, IResNet100, MobileFaceNet
from gfkeras.backbones.mobilefacenet import INSIGHTFACE_BOTTLENECKS, PAPER_BOTTLENECKS, STEMS
from gfkeras.layers import GroupedConv2D, InputNormalization
from gfkeras.zoo.foreign.network import Array, Convolution, ForeignNetwork, Op

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, GroupedConv2D)
_NO_PADDING = (0, 0, 0, 0)


def assign(network: ForeignNetwork, model: Backbone) -> None:
    """Copies the weights of an equivalent imported network into a backbone.

    Raises a ValueError that names the first layer that differs, with the layer in its place.
    """
    matching = _Matching(network, model)
    for layer in model.layers:
        matching.take(layer)
    matching.finish()


class _Matching:
    """The state of the comparison: tensors of the backbone and their counterparts."""

    def __init__(self, network: ForeignNetwork, model: Backbone):
        self.network = network
        self.model = model
        # From the id of a tensor of the backbone to the imported tensor and its zero padding.
        self.places: dict[int, tuple[str, tuple[int, int, int, int]]] = {}
        # Biases of imported ops. The next batch normalisation of the backbone takes them over.
        self.biases: dict[str, Array] = {}
        self.flattened: tuple[int, ...] | None = None

    def take(self, layer: Any) -> None:
        """Finds the counterpart of one layer and copies its weights."""
        if isinstance(layer, keras.layers.InputLayer):
            self.places[id(layer.output)] = (self.network.input, _NO_PADDING)
        elif isinstance(layer, keras.layers.Add):
            self._add(layer)
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            tensor, _ = self._place(layer)
            self.places[id(layer.output)] = (tensor, (top, left, bottom, right))
        elif isinstance(layer, _CONVOLUTIONS):
            self._convolution(layer)
        elif isinstance(layer, keras.layers.Dense):
            self._dense(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            self._batch_normalization(layer)
        elif isinstance(layer, keras.layers.PReLU):
            self._prelu(layer)
        else:
            self._pass_through(layer)

    def finish(self) -> None:
        """Raises ValueError unless both networks end at the same tensor."""
        tensor, _ = self.places[id(self.model.output)]
        if tensor in self.biases:
            raise self._differs(self.model.layers[-1], "no bias", "one")
        if tensor != self.network.output:
            following = self.network.consumers(tensor)
            received = following[0] if following else f"the output {self.network.output!r}"
            raise self._differs(None, "the end of the network", received)

    def _pass_through(self, layer: Any) -> None:
        passes = (InputNormalization, keras.layers.Dropout, keras.layers.Flatten,
                  keras.layers.Activation)  # fmt: skip
        if not isinstance(layer, passes):
            raise TypeError(f"{type(layer).__name__} {layer.name!r} has no rule of import")
        if isinstance(layer, keras.layers.Flatten):
            self.flattened = tuple(layer.input.shape[1:])
        self.places[id(layer.output)] = self._place(layer)

    def _convolution(self, layer: Any) -> None:
        tensor, padding = self._place(layer)
        expected = _convolution_of(layer, padding)
        op = self._counterpart(layer, "conv", tensor, f"conv {expected}")
        if op.convolution != expected:
            raise self._differs(layer, f"conv {expected}", op)
        self._set(layer, op, [_kernel_for(layer, op)])

    def _dense(self, layer: Any) -> None:
        tensor, _ = self._place(layer)
        features, units = layer.kernel.shape
        expected = f"dense ({features} to {units})"
        op = self._counterpart(layer, "dense", tensor, expected)
        kernel = op.kernel
        # On a 1x1 feature map, a 1x1 convolution is the same as an FC.
        if op.kind == "conv" and kernel is not None:
            kernel = kernel[0, 0]
        if kernel is None or kernel.shape != (features, units):
            raise self._differs(layer, expected, op)
        # The rows of the FC are in the order of the flattened channels-first feature map.
        if op.kind == "dense" and self.network.channels_first and self.flattened is not None:
            height, width, channels = self.flattened
            kernel = kernel.reshape(channels, height, width, units)
            kernel = kernel.transpose(1, 2, 0, 3).reshape(features, units)
        self._set(layer, op, [kernel])

    def _batch_normalization(self, layer: Any) -> None:
        tensor, _ = self._place(layer)
        bias = self.biases.pop(tensor, None)
        channels = int(layer.moving_mean.shape[0])
        found = [op for op in self.network.consumers(tensor) if op.kind == "bn"]
        if not found and bias is None:
            raise self._differs(layer, f"bn ({channels} channels)", self._what_follows(tensor))
        if not found:
            # The batch normalisation was folded into the weights before it. Only a bias is left.
            one = np.ones(channels, np.float32)
            gamma = one * np.sqrt(np.float64(1 + layer.epsilon))
            self._write(layer, None, [gamma, bias, 0 * one, one])
            self.places[id(layer.output)] = (tensor, _NO_PADDING)
            return
        op = found[0]
        if op.mean is None or op.variance is None or op.mean.shape != (channels,):
            raise self._differs(layer, f"bn ({channels} channels)", op)
        one = np.ones_like(op.mean)
        gamma = (one if op.gamma is None else op.gamma).astype("float64")
        beta = 0 * one if op.beta is None else op.beta
        mean = op.mean if bias is None else op.mean.astype("float64") - bias
        # Scale γ so that the function stays the same with the epsilon of the backbone.
        gamma = gamma * np.sqrt(
            (op.variance.astype("float64") + layer.epsilon) / (op.variance + op.epsilon)
        )
        self._set(layer, op, [gamma, beta, mean, op.variance])

    def _prelu(self, layer: Any) -> None:
        tensor, _ = self._place(layer)
        channels = int(layer.alpha.shape[-1])
        op = self._counterpart(layer, "prelu", tensor, f"prelu ({channels} channels)")
        slopes = op.slopes
        if slopes is not None and slopes.size == 1:
            slopes = np.full(channels, slopes.ravel()[0], np.float32)
        if slopes is None or slopes.size != channels:
            raise self._differs(layer, f"prelu ({channels} channels)", op)
        self._set(layer, op, [slopes.reshape(1, 1, channels)])

    def _add(self, layer: Any) -> None:
        tensors = [self.places[id(tensor)][0] for tensor in layer.input]
        for tensor in tensors:
            if tensor in self.biases:
                raise self._differs(layer, "a batch normalisation before the sum", "a bias")
        for op in self.network.consumers(tensors[0]):
            if op.kind == "add" and sorted(op.inputs) == sorted(tensors):
                self.places[id(layer.output)] = (op.output, _NO_PADDING)
                return
        inputs = " and ".join(map(repr, tensors))
        raise self._differs(layer, f"add of {inputs}", self._what_follows(tensors[-1]))

    def _place(self, layer: Any) -> tuple[str, tuple[int, int, int, int]]:
        return self.places[id(layer.input)]

    def _counterpart(self, layer: Any, kind: str, tensor: str, expected: str) -> Op:
        following = self.network.consumers(tensor)
        kinds = {kind}
        if kind == "dense" and self.flattened is not None and set(self.flattened[:2]) == {1}:
            kinds.add("conv")
        for op in following:
            if op.kind in kinds and tensor not in self.biases:
                return op
        raise self._differs(layer, expected, self._what_follows(tensor))

    def _what_follows(self, tensor: str) -> str:
        following = self.network.consumers(tensor)
        return " and ".join(map(str, following)) if following else "the end of the network"

    def _set(self, layer: Any, op: Op, values: list[Any]) -> None:
        if op.bias is not None and op.kind != "bn":
            self.biases[op.output] = op.bias
        self._write(layer, op, values)
        self.places[id(layer.output)] = (op.output, _NO_PADDING)

    def _write(self, layer: Any, op: Op | None, values: list[Any]) -> None:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if shapes != [np.shape(value) for value in values]:
            received = str(op) if op is not None else "a folded bias of another width"
            raise self._differs(layer, f"weights of shapes {shapes}", received)
        values = [np.asarray(value, np.float32) for value in values]
        if not all(np.isfinite(value).all() for value in values):
            raise ValueError(
                f"{self.network.path} is damaged: the weights for the layer {layer.name!r} "
                "are not finite"
            )
        layer.set_weights(values)

    def _differs(self, layer: Any, expected: Any, received: Any) -> ValueError:
        place = "the end" if layer is None else f"the layer {layer.name!r}"
        return ValueError(
            f"{self.network.path} differs from {describe(self.model)} at {place}: expected "
            f"{expected}. Received: {received}"
        )


def describe(model: Backbone) -> str:
    """Returns the class of a backbone, with its variant unless it is the default."""
    variant = model.get_config().get("variant", "paper")
    name = type(model).__name__
    return name if variant == "paper" else f"{name}(variant={variant!r})"


def _convolution_of(layer: Any, padding: tuple[int, int, int, int]) -> Convolution:
    """Returns the shape of a convolution of the backbone, with the zero padding before it."""
    channels, filters = int(layer.input.shape[-1]), int(layer.output.shape[-1])
    height, width = layer.kernel.shape[:2]
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    groups = channels if depthwise else int(getattr(layer, "groups", 1))
    if getattr(layer, "padding", "valid") == "same":
        # The backbones use "same" only at stride 1, where it is symmetric.
        side = (height - 1) // 2
        padding = (side, side, side, side)
    strides = layer.strides if isinstance(layer.strides, tuple) else (layer.strides,) * 2
    return Convolution(height, width, channels, filters, groups, strides, padding)


def _kernel_for(layer: Any, op: Op) -> Any:
    # Keras stores a depthwise kernel as (h, w, channels, 1).
    if isinstance(layer, keras.layers.DepthwiseConv2D) and op.kernel is not None:
        return op.kernel.transpose(0, 1, 3, 2)
    return op.kernel


_IRESNETS = (IResNet18, IResNet34, IResNet50, IResNet100)


def _paper_rows() -> list[list[int]]:
    """Returns the paper's table of bottlenecks, with widths instead of ratios."""
    rows: list[list[int]] = []
    channels = STEMS["paper"][0]
    for ratio, filters, repeats, stride in PAPER_BOTTLENECKS:
        for index in range(repeats):
            rows.append([ratio * channels, filters, 1, 1 if index else stride])
            channels = filters
    return rows


_PAPER_ROWS = _paper_rows()


def backbone_for(network: ForeignNetwork) -> Backbone:
    """Returns the untrained backbone that is most similar to a network.

    `matching.assign` checks whether they are equal, and names the first layer that differs.
    """
    convolutions = network.convolutions
    if not convolutions:
        raise ValueError(f"{network.path} is not a face network: it has no convolutions")
    arguments: dict[str, Any] = {
        "embedding_dim": _embedding_dim(network),
        "pixel_scale": network.pixel_scale,
        "bn_epsilon": _usual_epsilon(network),
    }
    if any(op.groups > 1 for op in convolutions):
        return _mobilefacenet(convolutions, arguments)
    # An IResNet has one convolution in the stem, two in each unit, and one in each of the four
    # shortcuts.
    count = len(convolutions) - 5
    build = min(_IRESNETS, key=lambda iresnet: abs(2 * sum(iresnet.units) - count))
    return build(**arguments)


def _mobilefacenet(convolutions: list[Op], arguments: dict[str, Any]) -> MobileFaceNet:
    """Returns the variant with these widths and repeats, or a custom MobileFaceNet."""
    filters = [op.kernel.shape[-1] for op in convolutions if op.kernel is not None]
    sizes = [op.kernel.shape[0] for op in convolutions if op.kernel is not None]
    groups = [op.groups for op in convolutions]
    second = len(sizes) > 1 and sizes[1] == 3
    stem = (filters[0], groups[1] if second else 0)
    rows: list[list[int]] = []
    index = 2 if second else 1
    while sizes[index : index + 3] == [1, 3, 1] and groups[index + 1] == filters[index + 1]:
        expanded, channels = filters[index], filters[index + 2]
        stride = convolutions[index + 1].strides[0]
        if rows and stride == 1 and rows[-1][:2] == [expanded, channels]:
            rows[-1][2] += 1
        else:
            rows.append([expanded, channels, 1, stride])
        index += 3
    for variant, usual in (("paper", _PAPER_ROWS), ("insightface", INSIGHTFACE_BOTTLENECKS)):
        if stem == STEMS[variant] and _merged(rows) == _merged(usual):
            return MobileFaceNet(variant=variant, **arguments)
    variant = "paper" if stem[0] == stem[1] else "insightface"
    if not rows:
        # No similar network. The comparison will name the first difference.
        return MobileFaceNet(variant=variant, **arguments)
    return MobileFaceNet(variant=variant, stem=stem, bottlenecks=rows, **arguments)


def _merged(rows: Iterable[Iterable[int]]) -> list[list[int]]:
    """Returns the same bottlenecks with one row for each."""
    found: list[list[int]] = []
    for expanded, channels, repeats, stride in rows:
        found += [[expanded, channels, stride], *([[expanded, channels, 1]] * (repeats - 1))]
    return found


def _embedding_dim(network: ForeignNetwork) -> int:
    for op in reversed(network.ops):
        if op.kind in ("dense", "conv") and op.kernel is not None:
            return int(op.kernel.shape[-1])
    raise ValueError(f"{network.path} has no layer that gives an embedding")


def _usual_epsilon(network: ForeignNetwork) -> float:
    """Returns the most common epsilon. Batch normalisations with it keep their γ unchanged."""
    found = Counter(op.epsilon for op in network.ops if op.kind == "bn")
    return found.most_common(1)[0][0] if found else 1e-5
