"""A random part of the image, enlarged to the size of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gfkeras.data.augmentation.ranges import positive_range
from gfkeras.data.augmentation.resampling import crop_matrix, resample


class RandomResizedCrop(keras.layers.Layer):
    """Cuts a random rectangle out of each image and enlarges it to the image's size.

    The area is uniform in `scale`, the logarithm of width over height in `ratio`, the place
    uniform; a side is cut to the image's. Corners lie anywhere, not at whole pixels.
    What `RandomCrop` of Keras does not do is vary the size of the part.

    Args:
        scale: least and largest area of the part, as a fraction of the image's.
        ratio: least and largest width over height.
        seed: of the random numbers.

    Call arguments:
        images: (B, H, W, 3) float, H and W known.

    Raises:
        ValueError: for a range that is none.
    """

    def __init__(
        self,
        scale: Sequence[float] = (0.7, 1.0),
        ratio: Sequence[float] = (0.9, 1.1),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.scale = positive_range("scale", scale, largest=1.0)
        self.ratio = positive_range("ratio", ratio)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = True) -> Any:
        if not training:
            return images
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]
        area = self._uniform(count, *self.scale)
        aspect = ops.exp(self._uniform(count, *map(math.log, self.ratio)))
        heights = height * ops.minimum(ops.sqrt(area / aspect), 1.0)
        widths = width * ops.minimum(ops.sqrt(area * aspect), 1.0)
        tops = (height - heights) * self._uniform(count, 0.0, 1.0)
        lefts = (width - widths) * self._uniform(count, 0.0, 1.0)
        rows, columns = crop_matrix(tops, heights, height), crop_matrix(lefts, widths, width)
        return resample(images, ops.cast(rows, images.dtype), ops.cast(columns, images.dtype))

    def _uniform(self, count: Any, low: float, high: float) -> Any:
        return keras.random.uniform((count,), low, high, dtype="float32", seed=self.generator)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "ratio": self.ratio, "seed": self.seed}
        return super().get_config() | own
