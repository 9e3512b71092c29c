"""Flip and shift: the moves that nearly every training makes, at the price of a copy.

They draw nothing themselves but take uniform numbers, one row an image. So what happens to
an image depends on its row alone, not on which images share its batch: a table drawn for a
global batch and cut into the workers' rows gives the same pictures for any number of workers.
"""

from __future__ import annotations

import cv2
import numpy as np

from gfkeras.errors import in_range


def flip_images(images: np.ndarray, u: np.ndarray, in_place: bool = False) -> np.ndarray:
    """Mirrors left to right each image whose number is below one half.

    Args:
        images: (B, H, W, 3) uint8; not changed unless `in_place`.
        u: (B,) in [0, 1).
        in_place: change `images`, contiguous in memory, and give it back: touching new
            memory takes longer than all the rest.
    """
    flipped = images if in_place else images.copy()
    # NumPy's reversed copy goes pixel by pixel and takes ten times as long.
    for index in np.flatnonzero(u < 0.5).tolist():
        cv2.flip(flipped[index], 1, flipped[index])
    return flipped


def shift_images(images: np.ndarray, pixels: int, u: np.ndarray) -> np.ndarray:
    """Moves each image by up to `pixels` up or down and left or right, repeating its border.

    y[i, j] = x[i + d, j + e], d and e uniform in −pixels…pixels: a random crop of the image
    padded with its own border.

    Args:
        images: (B, H, W, 3) uint8; not changed.
        pixels: the largest move, less than the image's sides.
        u: (B, 2) in [0, 1), for rows and columns.

    Raises:
        ValueError: if a move could leave nothing of the image.
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
