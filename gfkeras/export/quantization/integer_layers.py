"""Layers that compute as int8 does, integer by integer, with the gradients of the float ones."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.errors import require
from gfkeras.export.preparation.linear import has_kernel
from gfkeras.export.preparation.network import Node
from gfkeras.export.quantization.fake_quantization import (
    FakeQuantization,
    integer_kernel,
    integers,
    rounded_as,
    straight_through,
)

# XNNPACK adds with the larger of two factors in this many bits.
_SUM_BITS = 20
# Keras' depthwise convolution is none of its convolutions.
_OPERATIONS = (
    (keras.layers.DepthwiseConv2D, "depthwise"),
    (keras.layers.Conv2D, "conv"),
    (keras.layers.Dense, "dense"),
)


class _Integer(FakeQuantization):
    """Rounds what it computes from inputs that other layers have rounded."""

    def read(self, *sources: FakeQuantization) -> None:
        """Names the layers that rounded its inputs, in their order."""
        # A function, for Keras takes a layer that an attribute holds for a part of this one.
        self._steps_read = lambda: [source.step() for source in sources]


@keras.saving.register_keras_serializable("gfkeras")
class IntegerLinear(_Integer):
    """A convolution or FC of int8 with int32 biases, and its rounding.

    Σ over whole values is exact in float32 below 2²⁴. q = round(Σ·M) + Z, M = S_in·S_w / S_out.

    Args:
        low, high, fixed: as of `FakeQuantization`.
        operation: "conv", "depthwise" or "dense".
        kernel_shape: its shape.
        strides, padding, dilation_rate: of a convolution.

    Call arguments:
        x: (B, …, C) float, rounded by the layer that `read` names.

    Returns:
        What the float layer gives, rounded.
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
        """What makes one of a node, beside its ends; None for a node that is none of these."""
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

    def get_config(self) -> dict[str, Any]:
        names = ("operation", "kernel_shape", "strides", "padding", "dilation_rate")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("gfkeras")
class IntegerSum(_Integer):
    """The sum of two int8 tensors, rounded: XNNPACK's product with two factors and a shift.

    q = ⌊((q_a − Z_a)·A + (q_b − Z_b)·B + 2ⁿ⁻¹) / 2ⁿ⌋ + Z with A = round(2ⁿ·S_a/S), B alike, and
    n such that the larger has 21 bits.

    Call arguments:
        inputs: two tensors of one shape, rounded by the layers that `read` names.

    Returns:
        Their sum, rounded.
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
