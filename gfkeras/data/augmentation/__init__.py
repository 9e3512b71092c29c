"""Augmentation of training images: cheap moves in NumPy, everything else by Keras layers.

Only layers need Keras; `gfkeras.data.augmentation.catalog` lists them.
"""

from gfkeras.data.augmentation.augmentation import Augmentation, flip_images, shift_images

__all__ = ["Augmentation", "flip_images", "shift_images"]
