"""Augmentation of training images: cheap moves in NumPy, everything else by Keras layers.

`Augmentation` is the whole of it, from the recipe's words to pictures. Keras is imported
only where layers are asked for, by `gfkeras.data.augmentation.catalog`, which lists them.
"""

from gfkeras.data.augmentation.augmentation import Augmentation, flip_images, shift_images

__all__ = ["Augmentation", "flip_images", "shift_images"]
