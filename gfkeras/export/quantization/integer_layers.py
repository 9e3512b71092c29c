"""Trainable layers that compute with the rounding of int8."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import require
from gfkeras.export.preparation.channels import has_kernel
from gfkeras.export.preparation.network import Node
from gfkeras.saving import Configured

# The ends are learned as exponents. With this factor, they can use the weights' learning rate.
_PACE = 10.0

# In a sum, XNNPACK scales the larger of the two factors to between 2²⁰ and 2²¹.
_SUM_BITS = 20
# DepthwiseConv2D is not a subclass of Conv2D, so the order of the two does not matter.
_OPERATIONS = (
    (keras.layers.DepthwiseConv2D, "depthwise"),
    (keras.layers.Conv2D, "conv"),
    (keras.layers.Dense, "dense"),
)


@keras.saving.register_keras_serializable("gfkeras")
class FakeQuantization(Configured, keras.layers.Layer):
    """Rounds activations of any shape to the 256 values of int8 between two learned ends.

    x̂ = S·(q − Z) with q = round(x·(1/S)) + Z clipped to −128…127, S = (high − low)/255 and Z =
    round(−128 − low/S). This is XNNPACK's arithmetic to the last bit, with ties to even. The
    gradient passes straight through the rounding. If x is outside, the gradient goes to the end
    that clipped it. Unless the ends are `fixed`, training multiplies them by positive factors, so
    their signs stay. Raises ValueError if they are equal or zero is not between them.
    """

    def __init__(self, low: float, high: float, fixed: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if not low <= 0 <= high or low == high:
            raise ValueError(
                "`low` and `high` must differ, and zero must be between them. "
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
        """Returns the current (low, high), two scalars."""
        factors = ops.exp(_PACE * self.exponents)
        return self.low * factors[0], self.high * factors[1]

    def step(self) -> tuple[Any, Any]:
        """Returns scale and zero point (S, Z) of the ends, two scalars without a gradient."""
        low, high = map(ops.stop_gradient, self.ends())
        size = (high - low) / 255.0
        return size, ops.round(-128.0 - low / size)

    def call(self, x: Any) -> Any:
        size, zero = self.step()
        # XNNPACK multiplies by 1/S. A division would round differently in the last bit.
        return rounded_as(integers(x * (1.0 / size), zero), size, zero, x, *self.ends())

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def integers(steps: Any, zero: Any) -> Any:
    """Returns the int8 values, −128…127, of numbers in steps of the scale. Their dtype is float."""
    return ops.clip(ops.round(steps) + zero, -128.0, 127.0)


def rounded_as(q: Any, size: Any, zero: Any, x: Any, low: Any, high: Any) -> Any:
    """Returns S·(q − Z) with the gradient of rounding x between two ends."""
    tf: Any = require("tensorflow", "export")

    @tf.custom_gradient
    def rounding(x: Any, low: Any, high: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # This operation computes the gradients of x and of both ends.
            return tf.quantization.fake_quant_with_min_max_vars_gradient(upstream, x, low, high)

        return (q - zero) * size, gradient

    return rounding(x, low, high)


def straight_through(value: Any, x: Any, factor: Any) -> Any:
    """Returns `value` with the gradient of x·factor."""
    tf: Any = require("tensorflow", "export")

    @tf.custom_gradient
    def through(x: Any) -> Any:
        return value, lambda upstream: upstream * factor

    return through(x)


def integer_kernel(kernel: Any, channels: int) -> tuple[Any, Any]:
    """Returns a kernel in int8 values, as floats, and the scales, (channels,), of its channels.

    The values of −127…127 have the gradient of the kernel divided by its scales. The scales have no
    gradient.
    """
    rows = ops.reshape(kernel, (-1, channels))
    largest = ops.stop_gradient(ops.max(ops.abs(rows), axis=0))
    # This avoids a division by zero for a channel of zeros.
    scales = ops.where(largest > 0, largest, 1.0) / 127.0
    whole = ops.clip(ops.round(ops.stop_gradient(rows) / scales), -127.0, 127.0)
    return ops.reshape(straight_through(whole, rows, 1.0 / scales), ops.shape(kernel)), scales


def fake_quantized_kernel(kernel: Any, channels: int | None) -> Any:
    """Returns a kernel rounded to int8, with the gradient of the kernel.

    The kernel has one scale per output channel, or a single scale if `channels` is None.
    """
    if channels is None:
        # The range must include zero, which int8 represents exactly.
        tf: Any = require("tensorflow", "export")
        low = ops.stop_gradient(ops.minimum(ops.min(kernel), 0.0))
        high = ops.stop_gradient(ops.maximum(ops.max(kernel), 0.0))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, low, high)
    whole, scales = integer_kernel(kernel, channels)
    return ops.reshape(ops.reshape(whole, (-1, channels)) * scales, ops.shape(kernel))


class _Integer(FakeQuantization):
    """Computes in integers from inputs that other layers have rounded, and rounds the result."""

    def read(self, *sources: FakeQuantization) -> None:
        """Sets the layers that rounded its inputs, in the order of the inputs."""
        # A function hides the layers from Keras, which would track an attribute as a sublayer.
        self._steps_read = lambda: [source.step() for source in sources]


@keras.saving.register_keras_serializable("gfkeras")
class IntegerLinear(_Integer):
    """A convolution, depthwise convolution or FC in int8 with int32 biases, and output rounding.

    q = round(Σ·M) + Z with M = S_in·S_w / S_out. The sum Σ of whole numbers is exact in float32
    below 2²⁴. The layer passed to `read` must have rounded the input, (B, …, C).
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
        """Returns a node's arguments, without the ends, or None if integers cannot compute it."""
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
        """The number of output channels."""
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
        # `call` would need the layers of `read`, which are not set yet when the model is built.
        kernel = keras.KerasTensor(self.kernel_shape)
        return self._product(keras.KerasTensor(input_shape), kernel).shape


@keras.saving.register_keras_serializable("gfkeras")
class IntegerSum(_Integer):
    """The sum of two int8 tensors, rounded. It uses XNNPACK's two integer factors and a shift.

    q = ⌊((q_a − Z_a)·A + (q_b − Z_b)·B + 2ⁿ⁻¹) / 2ⁿ⌋ + Z with A = round(2ⁿ·S_a/S) and
    B = round(2ⁿ·S_b/S). n is chosen to give the larger factor 21 bits.
    """

    def call(self, inputs: Any) -> Any:
        tf: Any = require("tensorflow", "export")
        size, zero = self.step()
        sizes = [each for each, _ in self._steps_read()]
        factors = [each / size for each in sizes]
        # In float32, the logarithm of a factor just below a power of two could round up and give
        # the wrong shift.
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
