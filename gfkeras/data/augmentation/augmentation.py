"""The augmentation of a recipe: flips, shifts and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gfkeras.errors import in_range

if TYPE_CHECKING:
    from gfkeras.data.augmentation.layer_pipeline import LayerPipeline


def flip_images(images: np.ndarray, u: np.ndarray, in_place: bool = False) -> np.ndarray:
    """Mirrors left to right each image whose number is below one half.

    Args:
        images: (B, H, W, 3) uint8; not changed unless `in_place`.
        u: (B,) in [0, 1).
        in_place: change `images`, contiguous in memory, and give it back: touching new memory
            takes longer than all the rest.
    """
    flipped = images if in_place else images.copy()
    # NumPy's reversed copy goes pixel by pixel and takes ten times as long.
    for index in np.flatnonzero(u < 0.5).tolist():
        cv2.flip(flipped[index], 1, flipped[index])
    return flipped


def shift_images(images: np.ndarray, pixels: int, u: np.ndarray) -> np.ndarray:
    """Moves each image by up to `pixels` up or down and left or right, repeating its border.

    y[i, j] = x[i + d, j + e], d and e uniform in −pixels…pixels: a random crop of the image padded
    with its own border.

    Args:
        images: (B, H, W, 3) uint8; not changed.
        pixels: the largest move; ValueError unless less than the image's sides.
        u: (B, 2) in [0, 1), for rows and columns.
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
    """Varies batches of training images: first shift and flip, then Keras layers in order.

    Both parts are pure: the same images and the same numbers give the same images, so that a run
    resumed in the middle of an epoch sees what it would have seen. Flip and shift treat each image
    by its own row of numbers, however a batch is split over workers; the layers draw for the batch
    they are given, from its key.

    Call it to have both parts with numbers of one generator, as `FaceBatches` does; pipelines that
    run the parts in different places call `host` and `apply_layers`.

    Args:
        flip: mirror each image with probability one half.
        shift: move each image by up to that many pixels, repeating its border.
        layers: one table a layer: its `name` in `gfkeras.data.augmentation.catalog`, the layer's
            own arguments, and `probability`, that an image is changed by it. ValueError names
            the nearest of an unknown name or argument.

    Attributes:
        draws: uniform numbers that `host` needs an image.

    Example:
        augmentation = Augmentation(
            flip=True, shift=4, layers=[{"name": "color", "brightness_factor": 0.2}]
        )
        pictures = augmentation(images, np.random.default_rng((seed, epoch, step)))
        dataset = dataset.map(lambda images, key: augmentation.apply_layers(images, key))
    """

    def __init__(
        self, flip: bool = False, shift: int = 0, layers: Sequence[Mapping[str, Any]] = ()
    ):
        in_range("shift", shift, 0, float("inf"))
        self.flip = flip
        self.shift = shift
        self.layers = [dict(layer) for layer in layers]
        self.draws = int(flip) + 2 * (shift > 0)
        self._pipeline = self._build()

    @property
    def has_layers(self) -> bool:
        """Whether `apply_layers` changes images."""
        return self._pipeline is not None

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Both parts, drawing from a generator: (B, draws) uniform numbers, then the layers' key.

        The images, (B, H, W, 3) uint8, are not changed.
        """
        images = self.host(images, rng.random((len(images), self.draws)))
        if self.has_layers:
            images = self.apply_layers(images, rng.integers(0, 2**31, 2))
        return images

    def host(self, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Flip and shift, in NumPy.

        Args:
            images: (B, H, W, 3) uint8; not changed.
            uniforms: (B, draws) in [0, 1), else ValueError: the rows of these images in the table
                drawn for the global batch.
        """
        expected = (len(images), self.draws)
        if uniforms.shape != expected:
            raise ValueError(
                f"`uniforms` must have one row an image and {self.draws} columns. "
                f"Received: shape {uniforms.shape}, expected {expected}"
            )
        if self.shift:
            images = shift_images(images, self.shift, uniforms[:, -2:])
        if self.flip:
            # What the shift gave is nobody else's.
            images = flip_images(images, uniforms[:, 0], in_place=self.shift > 0)
        return images

    def apply_layers(self, images: Any, key: Any) -> Any:
        """The Keras layers, on any backend, eagerly or in the graph of a `tf.data` map.

        Args:
            images: (B, H, W, 3) uint8, an array or a tensor of a TensorFlow graph whose height and
                width are known; the result is of the same kind and shape.
            key: two integers that determine the randomness; in a graph a tensor (2,).
        """
        return images if self._pipeline is None else self._pipeline(images, key)

    def __getstate__(self) -> dict[str, Any]:
        # For worker processes: layers and compiled functions cannot be sent, their names can.
        return self.__dict__ | {"_pipeline": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pipeline = self._build()

    def _build(self) -> LayerPipeline | None:
        if not self.layers:
            return None
        # Reading and moving images should not wait for Keras.
        from gfkeras.data.augmentation.layer_pipeline import LayerPipeline

        return LayerPipeline(self.layers)
