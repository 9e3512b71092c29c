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

    x̂ = S·(round(x/S) clipped to the ends), S = (high − low)/255, with zero among the values. The
    gradient passes straight through the rounding; where x lies outside it goes to the end that
    clipped it. The ends are learned as factors of where they begin, so that they keep their signs.

    Args:
        low, high: where the ends begin, low ≤ 0 ≤ high and low < high.

    Call arguments:
        x: float, of any shape.

    Returns:
        The same shape.

    Raises:
        ValueError: for ends without zero between them.
    """

    def __init__(self, low: float, high: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not low <= 0 <= high or low == high:
            raise ValueError(
                "`low` and `high` must differ and have zero between them. "
                f"Received: low={low}, high={high}"
            )
        self.low = low
        self.high = high

    def build(self, input_shape: Any) -> None:
        self.exponents = self.add_weight(name="exponents", shape=(2,), initializer="zeros")

    def ends(self) -> tuple[Any, Any]:
        """(low, high), two scalars, as learned so far."""
        factors = ops.exp(_PACE * self.exponents)
        return self.low * factors[0], self.high * factors[1]

    def call(self, x: Any) -> Any:
        tf: Any = require("tensorflow", "export")
        # One operation forward and one back, four times as fast as its parts.
        return tf.quantization.fake_quant_with_min_max_vars(x, *self.ends())

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high}


def fake_quantized_kernel(kernel: Any, channels: int | None) -> Any:
    """A kernel as int8 holds it, with the gradient of the kernel itself.

    Args:
        kernel: float tensor.
        channels: number of output channels, the product of its last axes; each is rounded on a
            scale of its own, symmetrically. None: one scale and zero point for all.
    """
    tf: Any = require("tensorflow", "export")
    if channels is None:
        low = ops.stop_gradient(ops.minimum(ops.min(kernel), 0.0))
        high = ops.stop_gradient(ops.maximum(ops.max(kernel), 0.0))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, low, high)
    rows = ops.reshape(kernel, (-1, channels))
    largest = ops.stop_gradient(ops.max(ops.abs(rows), axis=0))
    # A channel of zeros has no scale of its own.
    largest = ops.where(largest > 0, largest, 1.0)
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        rows, -largest, largest, narrow_range=True
    )
    return ops.reshape(rounded, ops.shape(kernel))
