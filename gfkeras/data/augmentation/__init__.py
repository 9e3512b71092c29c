"""Augmentation of training images: fast shifts and flips in NumPy, and Keras layers.

Only the layers need Keras. `gfkeras.data.augmentation.catalog` lists them.
"""

from gfkeras.data.augmentation.augmentation import Augmentation, flip_images, shift_images

__all__ = ["Augmentation", "flip_images", "shift_images"]
