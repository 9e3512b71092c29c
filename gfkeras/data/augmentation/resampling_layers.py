"""Resampling layers: random crops and low resolution."""

import functools
import math
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def resample(images: Any, rows: Any, columns: Any) -> Any:
    """Resamples each image with its own matrices, whose rows sum to 1.

    The images are (B, H, W, 3) float, the matrices (B, H', H) and (B, W', W).
    """
    return ops.einsum("bij,bjkc,blk->bilc", rows, images, columns)


def crop_matrix(starts: Any, lengths: Any, size: int) -> Any:
    """Returns the matrices that stretch [start, start + length) of a pixel line to the whole line.

    Interpolation is linear, with pixels as intervals of length 1. Beyond the border, the outermost
    pixel is repeated. `starts` and `lengths` are (B,) float, in pixels. A length must not be larger
    than `size`, because the matrices interpolate and do not average. Returns (B, size, size)
    float32.
    """
    pixels = np.arange(size, dtype=np.float32)
    centres = (pixels + 0.5) / size
    positions = ops.expand_dims(starts, 1) + ops.expand_dims(lengths, 1) * centres - 0.5
    # Clipping repeats the outermost pixel beyond the border.
    positions = ops.clip(positions, 0.0, size - 1.0)
    # The weights of linear interpolation are a triangle, two pixels wide, around each position.
    return ops.relu(1.0 - ops.abs(ops.expand_dims(positions, 2) - pixels))


@functools.cache
def reduction_matrices(size: int, smallest: int) -> np.ndarray:
    """Returns the matrices that shrink a pixel line and enlarge it again, for each small size.

    Shrinking averages with a triangle as wide as two pixels of the small line. Enlarging
    interpolates linearly. Both equal bilinear `keras.ops.image.resize`, with `antialias` for
    shrinking. Returns (size − smallest + 1, size, size) float32, for small sizes smallest…size.
    """
    return np.stack([_linear(n, size) @ _linear(size, n) for n in range(smallest, size + 1)])


def _linear(source: int, target: int) -> np.ndarray:
    """Returns the (target, source) matrix of linear resampling, which averages if it shrinks."""
    ratio = source / target
    positions = (np.arange(target) + 0.5) * ratio - 0.5
    # When a line shrinks, the triangle is wider and averages pixels. This is the antialiasing.
    distances = np.abs(positions[:, None] - np.arange(source)) / max(ratio, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def positive_range(argument: str, value: Any, largest: float = float("inf")) -> tuple[float, float]:
    """Returns two finite floats. Raises ValueError unless 0 < low ≤ high ≤ `largest`."""
    pair = list(value) if isinstance(value, (list, tuple)) else []
    wrong = any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in pair)
    if len(pair) != 2 or wrong or not 0 < pair[0] <= pair[1] <= largest or math.isinf(pair[1]):
        bound = f" ≤ {largest:g}" if largest < float("inf") else ""
        raise ValueError(
            f"`{argument}` must be two numbers, 0 < low ≤ high{bound}. "
            f"Received: {argument}={value!r}"
        )
    return float(pair[0]), float(pair[1])


class RandomResizedCrop(keras.layers.Layer):
    """Cuts a random rectangle out of each image and enlarges it to the size of the image.

    The area is uniform in `scale`, a fraction of the image, the logarithm of width over height is
    uniform over `ratio`, and the position is uniform. A side is limited to the side of the image.
    Corners can be between pixels. Keras's `RandomCrop` does not vary the size. Images are (B, H, W,
    3) float, and H and W must be known.
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
        # Drawn as a logarithm, so that wide and tall parts are treated alike.
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


class RandomLowResolution(keras.layers.Layer):
    """Shrinks each image by a random factor and enlarges it again.

    The image has S pixels a side and the small image n, with n uniform over the whole numbers that
    `scale`, a fraction of S, allows. Shrinking uses antialiasing, enlarging is bilinear. Images are
    (B, S, S, 3) float, and S must be known. Others raise ValueError.
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
        # Each image needs another size, so the matrices of all sizes are computed once and looked
        # up.
        table = ops.convert_to_tensor(reduction_matrices(height, smallest), dtype=images.dtype)
        matrices = ops.take(table, sides, axis=0)
        return resample(images, matrices, matrices)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale, "seed": self.seed}
