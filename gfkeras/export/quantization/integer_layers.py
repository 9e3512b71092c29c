"""Layers that compute as int8 does, with gradients."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import require
from gfkeras.export.preparation.channels import has_kernel
from gfkeras.export.preparation.network import Node
from gfkeras.saving import Configured

# Ends are learned as exponents; with this factor one learning rate fits them and the weights.
_PACE = 10.0

# XNNPACK adds with the larger of two factors in this many bits.
_SUM_BITS = 20
# Keras' depthwise convolution is none of its convolutions.
_OPERATIONS = (
    (keras.layers.DepthwiseConv2D, "depthwise"),
    (keras.layers.Conv2D, "conv"),
    (keras.layers.Dense, "dense"),
)


@keras.saving.register_keras_serializable("gfkeras")
class FakeQuantization(Configured, keras.layers.Layer):
    """Rounds activations of any shape to the 256 values that int8 has between two learned ends.

    x̂ = S·(q − Z) with q = round(x·(1/S)) + Z clipped to −128…127, S = (high − low)/255 and Z =
    round(−128 − low/S): XNNPACK's arithmetic to the last bit, ties to even. The gradient passes
    straight through the rounding; where x lies outside it goes to the end that clipped it. The ends
    begin at low ≤ 0 ≤ high, and are learned, unless `fixed`, as factors, which keeps signs.
    """

    def __init__(self, low: float, high: float, fixed: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if not low <= 0 <= high or low == high:
            raise ValueError(
                "`low` and `high` must differ and have zero between them. "
                f"Received: low={low}, high={high}"
            )
        self.low = low
        self.high = high
        self.fixed = fixed

    def build(self, input_shape: Any) -> None:
        self.exponents = self.add_weight(
            name="exponents", shape=(2,), initializer="zeros", trainable=not self.fixed
        )

    def ends(self) -> tuple[Any, Any]:
        """(low, high), two scalars, as learned so far."""
        factors = ops.exp(_PACE * self.exponents)
        return self.low * factors[0], self.high * factors[1]

    def step(self) -> tuple[Any, Any]:
        """(S, Z) of the ends as a file holds them, two scalars without a gradient."""
        low, high = map(ops.stop_gradient, self.ends())
        size = (high - low) / 255.0
        return size, ops.round(-128.0 - low / size)

    def call(self, x: Any) -> Any:
        size, zero = self.step()
        return rounded_as(integers(x * (1.0 / size), zero), size, zero, x, *self.ends())

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def integers(steps: Any, zero: Any) -> Any:
    """The int8 values of a number of steps: whole values of −128…127, as floats."""
    return ops.clip(ops.round(steps) + zero, -128.0, 127.0)


def rounded_as(q: Any, size: Any, zero: Any, x: Any, low: Any, high: Any) -> Any:
    """S·(q − Z), with the gradient of rounding x between two ends."""
    tf: Any = require("tensorflow", "export")

    @tf.custom_gradient
    def rounding(x: Any, low: Any, high: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Both ways of moving an end and of clipping at it in one operation.
            return tf.quantization.fake_quant_with_min_max_vars_gradient(upstream, x, low, high)

        return (q - zero) * size, gradient

    return rounding(x, low, high)


def straight_through(value: Any, x: Any, factor: Any) -> Any:
    """A value that has the gradient of x·factor."""
    tf: Any = require("tensorflow", "export")

    @tf.custom_gradient
    def through(x: Any) -> Any:
        return value, lambda upstream: upstream * factor

    return through(x)


def integer_kernel(kernel: Any, channels: int) -> tuple[Any, Any]:
    """A kernel as int8 holds it, and the scales, (channels,), of its output channels.

    The whole values of −127…127 have the gradient of the kernel over its scales; the scales, one
    for each entry of the last axes, have none.
    """
    rows = ops.reshape(kernel, (-1, channels))
    largest = ops.stop_gradient(ops.max(ops.abs(rows), axis=0))
    # A channel of zeros has no scale of its own.
    scales = ops.where(largest > 0, largest, 1.0) / 127.0
    whole = ops.clip(ops.round(ops.stop_gradient(rows) / scales), -127.0, 127.0)
    return ops.reshape(straight_through(whole, rows, 1.0 / scales), ops.shape(kernel)), scales


def fake_quantized_kernel(kernel: Any, channels: int | None) -> Any:
    """A kernel as int8 holds it, with its own gradient; one scale in all if channels is None."""
    if channels is None:
        tf: Any = require("tensorflow", "export")
        low = ops.stop_gradient(ops.minimum(ops.min(kernel), 0.0))
        high = ops.stop_gradient(ops.maximum(ops.max(kernel), 0.0))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, low, high)
    whole, scales = integer_kernel(kernel, channels)
    return ops.reshape(ops.reshape(whole, (-1, channels)) * scales, ops.shape(kernel))


class _Integer(FakeQuantization):
    """Rounds what it computes from inputs that other layers have rounded."""

    def read(self, *sources: FakeQuantization) -> None:
        """Names the layers that rounded its inputs, in their order."""
        # A function, for Keras takes a layer that an attribute holds for a part of this one.
        self._steps_read = lambda: [source.step() for source in sources]


@keras.saving.register_keras_serializable("gfkeras")
class IntegerLinear(_Integer):
    """A convolution or FC of int8 with int32 biases, and its rounding.

    Σ over whole values is exact in float32 below 2²⁴. q = round(Σ·M) + Z, M = S_in·S_w / S_out. The
    layer that `read` names rounded the input, (B, …, C). `operation`: "conv", "depthwise", "dense".
    """

    def __init__(
        self,
        low: float,
        high: float,
        fixed: bool = False,
        operation: str = "dense",
        kernel_shape: tuple[int, ...] = (),
        strides: Any = 1,
        padding: str = "valid",
        dilation_rate: Any = 1,
        **kwargs: Any,
    ):
        super().__init__(low, high, fixed, **kwargs)
        self.operation = operation
        self.kernel_shape = tuple(kernel_shape)
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate

    @classmethod
    def arguments(cls, node: Node) -> dict[str, Any] | None:
        """The arguments, beside the ends, for a node; None for a node of another kind."""
        kind = next((name for layer, name in _OPERATIONS if issubclass(node.layer, layer)), None)
        if kind is None or not has_kernel(node) or len(node.weights) != 2:
            return None
        found = {"operation": kind, "kernel_shape": tuple(node.weights[0].shape)}
        if kind != "dense":
            for name in ("strides", "padding", "dilation_rate"):
                found[name] = node.config[name]
        return found

    @property
    def channels(self) -> int:
        shape = self.kernel_shape
        return shape[-1] * shape[-2] if self.operation == "depthwise" else shape[-1]

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(name="kernel", shape=self.kernel_shape)
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        ((size_in, _),) = self._steps_read()
        size, zero = self.step()
        kernel, scales = integer_kernel(self.kernel.value, self.channels)
        sums = size_in * scales
        bias = self.bias.value
        bias = straight_through(ops.round(ops.stop_gradient(bias) / sums), bias, 1.0 / sums)
        steps = straight_through(ops.round(ops.stop_gradient(x) / size_in), x, 1.0 / size_in)
        total = self._product(steps, kernel) + bias
        q = integers(ops.stop_gradient(total) * (sums / size), zero)
        return rounded_as(q, size, zero, total * sums, *self.ends())

    def _product(self, x: Any, kernel: Any) -> Any:
        if self.operation == "dense":
            return ops.matmul(x, kernel)
        convolve = ops.conv if self.operation == "conv" else ops.depthwise_conv
        return convolve(
            x, kernel, strides=self.strides, padding=self.padding, data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        # Without `call`, which reads layers that are not named yet.
        kernel = keras.KerasTensor(self.kernel_shape)
        return self._product(keras.KerasTensor(input_shape), kernel).shape


@keras.saving.register_keras_serializable("gfkeras")
class IntegerSum(_Integer):
    """The sum of two int8 tensors, rounded: XNNPACK's product with two factors and a shift.

    q = ⌊((q_a − Z_a)·A + (q_b − Z_b)·B + 2ⁿ⁻¹) / 2ⁿ⌋ + Z with A = round(2ⁿ·S_a/S), B alike, and n
    such that the larger has 21 bits.
    """

    def call(self, inputs: Any) -> Any:
        tf: Any = require("tensorflow", "export")
        size, zero = self.step()
        sizes = [each for each, _ in self._steps_read()]
        factors = [each / size for each in sizes]
        largest = ops.cast(ops.maximum(*factors), "float64")
        shift = _SUM_BITS - ops.floor(ops.log2(largest))
        power = 2.0**shift
        total = ops.cast(power / 2, "int32")
        for x, size_in, factor in zip(inputs, sizes, factors, strict=True):
            whole = ops.cast(ops.round(ops.stop_gradient(x) / size_in), "int32")
            total += whole * ops.cast(ops.round(ops.cast(factor, "float64") * power), "int32")
        shifted = tf.bitwise.right_shift(total, ops.cast(shift, "int32"))
        q = ops.clip(ops.cast(shifted, "float32") + zero, -128.0, 127.0)
        return rounded_as(q, size, zero, inputs[0] + inputs[1], *self.ends())

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]
