"""Augmentation as a recipe describes it: flips, shifts and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gfkeras.errors import in_range, wrong

if TYPE_CHECKING:
    from gfkeras.data.augmentation.layer_pipeline import LayerPipeline


def flip_images(images: np.ndarray, u: np.ndarray, in_place: bool = False) -> np.ndarray:
    """Mirrors each image, left to right, whose number in `u`, (B,), is below one half.

    Images are (B, H, W, 3) uint8. With `in_place`, contiguous images are changed and returned,
    which is faster, because allocating new memory takes most of the time.
    """
    flipped = images if in_place else images.copy()
    # NumPy's reversed copy works pixel by pixel and takes ten times as long.
    for index in np.flatnonzero(u < 0.5).tolist():
        cv2.flip(flipped[index], 1, flipped[index])
    return flipped


def shift_images(images: np.ndarray, pixels: int, u: np.ndarray) -> np.ndarray:
    """Shifts each image by up to `pixels` in both directions, and repeats its border.

    y[i, j] = x[i + d, j + e] with d and e uniform in −pixels…pixels, from `u`, (B, 2) in [0, 1).
    This is a random crop of the image padded with its own border. Images are (B, H, W, 3) uint8 and
    not changed. Raises ValueError unless `pixels` is smaller than their sides.
    """
    height, width = images.shape[1:3]
    in_range("pixels", pixels, 0, min(height, width))
    images = np.ascontiguousarray(images)
    shifted = np.empty_like(images)
    offsets = np.floor(u * (2 * pixels + 1)).astype(int) - pixels
    for image, (down, right), out in zip(images, offsets.tolist(), shifted, strict=True):
        top, left = max(-down, 0), max(-right, 0)
        bottom, end = max(down, 0), max(right, 0)
        kept = image[bottom : height - top, end : width - left]
        cv2.copyMakeBorder(kept, top, bottom, left, end, cv2.BORDER_REPLICATE, out)
    return shifted


class Augmentation:
    """Varies batches of training images: shifts and flips them, then applies Keras layers in order.

    Both parts are pure functions: the same images and random numbers give the same result. A run
    that is resumed in the middle of an epoch therefore sees the same images as one that was not
    stopped. Shift and flip use one row of random numbers for each image, so it does not matter how
    a batch is split over workers. The layers draw for the whole batch that they get, from its key.

    Call the object to apply both parts with one random generator, as `FaceBatches` does. Pipelines
    that run the two parts in different places call `host` and `apply_layers`.

    Args:
        flip: mirror each image with probability one half.
        shift: largest shift of an image in pixels. Its border is repeated.
        layers: one table for each layer: its `name` in `gfkeras.data.augmentation.catalog`, the
            arguments of the layer, and `probability`, with which an image is changed.

    Raises:
        ValueError: for an unknown name or argument. The message suggests the nearest one.

    Attributes:
        draws: uniform random numbers that `host` needs for each image.

    Example:
        augmentation = Augmentation(
            flip=True, shift=4, layers=[{"name": "color", "brightness_factor": 0.2}]
        )
        augmented = augmentation(images, np.random.default_rng((seed, epoch, step)))
        dataset = dataset.map(lambda images, key: augmentation.apply_layers(images, key))
    """

    def __init__(
        self, flip: bool = False, shift: int = 0, layers: Sequence[Mapping[str, Any]] = ()
    ):
        in_range("shift", shift, 0, float("inf"))
        self.flip = flip
        self.shift = shift
        self.layers = [dict(layer) for layer in layers]
        # One number for the flip, then two for the shift.
        self.draws = int(flip) + 2 * (shift > 0)
        self._pipeline = self._build()

    @property
    def has_layers(self) -> bool:
        """Whether `apply_layers` changes images."""
        return self._pipeline is not None

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Applies both parts with random numbers of a generator.

        The generator draws (B, draws) uniform numbers, then the key of the layers. The images,
        (B, H, W, 3) uint8, are not changed.
        """
        images = self.host(images, rng.random((len(images), self.draws)))
        if self.has_layers:
            images = self.apply_layers(images, rng.integers(0, 2**31, 2))
        return images

    def host(self, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Shifts and flips images, (B, H, W, 3) uint8, in NumPy. They are not changed.

        `uniforms` (B, draws) in [0, 1) are the rows for these images in the table drawn for the
        global batch. Raises ValueError for another shape.
        """
        expected = (len(images), self.draws)
        if uniforms.shape != expected:
            received = f"shape {uniforms.shape}, expected {expected}"
            raise wrong("uniforms", f"have one row per image and {self.draws} columns", received)
        if self.shift:
            images = shift_images(images, self.shift, uniforms[:, -2:])
        if self.flip:
            # The shifted images are a new array, which can be changed.
            images = flip_images(images, uniforms[:, 0], in_place=self.shift > 0)
        return images

    def apply_layers(self, images: Any, key: Any) -> Any:
        """Applies the Keras layers, on any backend, eagerly or in the graph of a `tf.data` map.

        Args:
            images: (B, H, W, 3) uint8: an array, or a tensor of a TensorFlow graph with known
                height and width. The result has the same type and shape.
            key: two integers that determine the random numbers. In a graph, a tensor (2,).
        """
        return images if self._pipeline is None else self._pipeline(images, key)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes: layers and compiled functions cannot be pickled, but their names can.
        return self.__dict__ | {"_pipeline": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pipeline = self._build()

    def _build(self) -> LayerPipeline | None:
        if not self.layers:
            return None
        # Imported here, because reading and shifting images should not load Keras.
        from gfkeras.data.augmentation.layer_pipeline import LayerPipeline

        return LayerPipeline(self.layers)
