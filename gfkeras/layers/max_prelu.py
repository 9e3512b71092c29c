"""PReLU as a maximum."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("gfkeras")
class MaxPReLU(keras.layers.Layer):
    """max(x, α·x) with one slope per channel: PReLU where α ≤ 1, its reflection where α > 1.

    int8 runtimes have kernels for products and maxima, but not for PReLU.

    Args:
        alpha_initializer: of the slopes.

    Call arguments:
        inputs: (..., C).

    Returns:
        (..., C).

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.MaxPReLU(alpha_initializer="ones")
        >>> np.asarray(layer(np.full((1, 1), -2.0))).tolist()
        [[-2.0]]
    """

    def __init__(self, alpha_initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.alpha = self.add_weight(
            name="alpha", shape=(input_shape[-1],), initializer=self.alpha_initializer
        )

    def call(self, inputs: Any) -> Any:
        return ops.maximum(inputs, inputs * self.alpha)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": keras.initializers.serialize(self.alpha_initializer),
        }
