"""Reading faces: images, folders of folders, batches, augmentation, synthetic faces."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gfkeras.data.faces import Faces
from gfkeras.data.folder import FaceFolder
from gfkeras.data.identity_sampler import IdentitySampler
from gfkeras.data.images import IMAGE_SIZE, ImageError, check_images, read_image

if TYPE_CHECKING:
    from gfkeras.data import synthetic
    from gfkeras.data.batches import FaceBatches

__all__ = [
    "IMAGE_SIZE",
    "FaceBatches",
    "FaceFolder",
    "Faces",
    "IdentitySampler",
    "ImageError",
    "check_images",
    "read_image",
    "synthetic",
]


def __getattr__(name: str) -> Any:
    # Only batches need Keras; reading and rendering faces should not wait for it.
    if name == "FaceBatches":
        from gfkeras.data.batches import FaceBatches

        return FaceBatches
    if name == "synthetic":
        return importlib.import_module("gfkeras.data.synthetic")
    raise AttributeError(f"module 'gfkeras.data' has no attribute {name!r}")
