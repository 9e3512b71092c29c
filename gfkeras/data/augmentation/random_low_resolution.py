"""Faces as a camera far away sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gfkeras.data.augmentation.ranges import positive_range
from gfkeras.data.augmentation.resampling import reduction_matrices, resample


class RandomLowResolution(keras.layers.Layer):
    """Shrinks each image by a random factor and enlarges it again.

    The small picture has n/S of the image's S pixels a side, n uniform over the whole
    numbers that `scale` allows; it is shrunk with antialiasing and enlarged bilinearly.

    Args:
        scale: least and largest side of the small picture, as a fraction of the image's.
        seed: of the random numbers.

    Call arguments:
        images: (B, S, S, 3) float, S known.

    Raises:
        ValueError: for a range that is none, or images that are not square.
    """

    def __init__(
        self, scale: Sequence[float] = (0.25, 1.0), seed: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.scale = positive_range("scale", scale, largest=1.0)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = True) -> Any:
        if not training:
            return images
        height, width = images.shape[1:3]
        if height != width or height is None:
            raise ValueError(f"`images` must be square. Received: shape {tuple(images.shape)}")
        smallest, largest = (max(1, round(bound * height)) for bound in self.scale)
        sides = keras.random.randint(
            (ops.shape(images)[0],), 0, largest - smallest + 1, seed=self.generator
        )
        table = ops.convert_to_tensor(reduction_matrices(height, smallest), dtype=images.dtype)
        matrices = ops.take(table, sides, axis=0)
        return resample(images, matrices, matrices)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale, "seed": self.seed}
