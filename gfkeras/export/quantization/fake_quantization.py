"""int8's rounding in float, with gradients: what quantisation-aware fine-tuning trains through."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.errors import require

# Ends are learned as exponents; with this factor one learning rate fits them and the weights.
_PACE = 10.0


@keras.saving.register_keras_serializable("gfkeras")
class FakeQuantization(keras.layers.Layer):
    """Rounds activations to the 256 values that int8 has between two learned ends.

    x̂ = S·(q − Z) with q = round(x·(1/S)) + Z clipped to −128…127, S = (high − low)/255 and
    Z = round(−128 − low/S): XNNPACK's arithmetic to the last bit, ties to even. The gradient
    passes straight through the rounding; where x lies outside it goes to the end that clipped it.
    The ends are learned as factors of where they begin, so that they keep their signs.

    Args:
        low, high: where the ends begin, low ≤ 0 ≤ high and low < high.
        fixed: whether they stay there.

    Call arguments:
        x: float, of any shape.

    Returns:
        The same shape.

    Raises:
        ValueError: for ends without zero between them.
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high, "fixed": self.fixed}


def integers(steps: Any, zero: Any) -> Any:
    """What int8 holds for a number of steps: whole values of −128…127, as floats."""
    return ops.clip(ops.round(steps) + zero, -128.0, 127.0)


def rounded_as(q: Any, size: Any, zero: Any, x: Any, low: Any, high: Any) -> Any:
    """S·(q − Z), with the gradient that rounding x between two ends has.

    Args:
        q: what int8 holds, of any shape.
        size, zero: S and Z.
        x: what was rounded, in float, of the same shape.
        low, high: the ends.
    """
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
    """A kernel as int8 holds it, and the scale of each channel.

    Args:
        kernel: float tensor.
        channels: number of output channels, the product of its last axes; each is rounded on a
            scale of its own, symmetrically.

    Returns:
        Whole values of −127…127 in the kernel's shape, with the gradient of the kernel over its
        scales, and the scales, (channels,), without one.
    """
    rows = ops.reshape(kernel, (-1, channels))
    largest = ops.stop_gradient(ops.max(ops.abs(rows), axis=0))
    # A channel of zeros has no scale of its own.
    scales = ops.where(largest > 0, largest, 1.0) / 127.0
    whole = ops.clip(ops.round(ops.stop_gradient(rows) / scales), -127.0, 127.0)
    return ops.reshape(straight_through(whole, rows, 1.0 / scales), ops.shape(kernel)), scales


def fake_quantized_kernel(kernel: Any, channels: int | None) -> Any:
    """A kernel as int8 holds it, with the gradient of the kernel itself.

    Args:
        kernel: float tensor.
        channels: as of `integer_kernel`. None: one scale and zero point for all.
    """
    if channels is None:
        tf: Any = require("tensorflow", "export")
        low = ops.stop_gradient(ops.minimum(ops.min(kernel), 0.0))
        high = ops.stop_gradient(ops.maximum(ops.max(kernel), 0.0))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, low, high)
    whole, scales = integer_kernel(kernel, channels)
    return ops.reshape(ops.reshape(whole, (-1, channels)) * scales, ops.shape(kernel))
