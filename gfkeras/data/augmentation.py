"""Changes to training images: pure NumPy functions with an explicit generator.

Each takes a batch (B, H, W, 3) of uint8, gives a new one of the same shape and
type, and draws from the generator it is given: the same generator state gives the
same pictures.
"""

from __future__ import annotations

import numpy as np


def random_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrors each image left to right with probability one half."""
    chosen = rng.random(len(images)) < 0.5
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def random_shift(images: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Moves each image by up to `pixels` in both directions, repeating its border."""
    _, height, width, _ = images.shape
    offsets = rng.integers(-pixels, pixels + 1, (len(images), 2))
    rows = np.clip(np.arange(height) + offsets[:, :1], 0, height - 1)
    columns = np.clip(np.arange(width) + offsets[:, 1:], 0, width - 1)
    index = np.arange(len(images))[:, None, None]
    return images[index, rows[:, :, None], columns[:, None, :]]


def random_zoom(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Scales each image about its centre by 1 ± `amount` (nearest pixel), repeating its border."""
    _, height, width, _ = images.shape
    scales = rng.uniform(1 - amount, 1 + amount, (len(images), 1))

    def source(length: int) -> np.ndarray:
        centre = (length - 1) / 2
        positions = np.rint((np.arange(length) - centre) / scales + centre).astype(np.int64)
        return np.clip(positions, 0, length - 1)

    index = np.arange(len(images))[:, None, None]
    return images[index, source(height)[:, :, None], source(width)[:, None, :]]


def random_light(
    images: np.ndarray, brightness: float, contrast: float, rng: np.random.Generator
) -> np.ndarray:
    """Changes contrast about the image's mean and brightness.

    y = clip(m + (x − m)·c + b): c uniform in 1 ± `contrast`, b uniform in
    ± 255·`brightness`, m the mean of the image.
    """
    count = len(images)
    factor = rng.uniform(1 - contrast, 1 + contrast, count)
    offset = rng.uniform(-255 * brightness, 255 * brightness, count)
    mean = images.mean(axis=(1, 2, 3))
    # One table of 256 entries per image: far cheaper than arithmetic on every pixel.
    values = np.arange(256)[None, :]
    table = mean[:, None] + (values - mean[:, None]) * factor[:, None] + offset[:, None]
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return table[np.arange(count)[:, None, None, None], images]


def random_erase(
    images: np.ndarray, probability: float, largest: float, rng: np.random.Generator
) -> np.ndarray:
    """Covers a rectangle of each chosen image with one random grey.

    Args:
        images: (B, H, W, 3).
        probability: that an image is chosen.
        largest: the longest side of the rectangle, as a part of the image's side.
        rng: the generator.
    """
    _, height, width, _ = images.shape
    images = images.copy()
    chosen = rng.random(len(images)) < probability
    sides = rng.uniform(0.1, max(largest, 0.1), (len(images), 2))
    centres = rng.random((len(images), 2))
    greys = rng.integers(0, 256, len(images))
    for i in np.flatnonzero(chosen):
        half = sides[i] * (height, width) / 2
        centre = centres[i] * (height, width)
        top, left = np.maximum(centre - half, 0).astype(int)
        bottom, right = np.minimum(centre + half, (height, width)).astype(int)
        images[i, top:bottom, left:right] = greys[i]
    return images


def random_grey(images: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Makes each image grey with this probability (ITU-R 601 luma)."""
    chosen = np.flatnonzero(rng.random(len(images)) < probability)
    if len(chosen):
        luma = images[chosen] @ np.array([0.299, 0.587, 0.114])
        images = images.copy()
        images[chosen] = np.rint(luma).astype(np.uint8)[..., None]
    return images
