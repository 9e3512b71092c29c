"""Faces from photos and public formats: sources, alignment, records, batches, augmentation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gfkeras.data.faces import Faces
from gfkeras.data.folder import FaceFolder
from gfkeras.data.identity_sampler import IdentitySampler
from gfkeras.data.images import IMAGE_SIZE, ImageError, check_images, read_image, read_photo

if TYPE_CHECKING:
    from gfkeras.data import synthetic
    from gfkeras.data.alignment import FaceAligner, FaceDetector, align_face
    from gfkeras.data.batches import FaceBatches
    from gfkeras.data.prepare import PrepareOptions
    from gfkeras.data.records import RecordSet
    from gfkeras.data.sources import open_source
    from gfkeras.data.tf_dataset import tf_dataset

# Imported when first used: reading and rendering faces should not wait for Keras or OpenCV.
_LAZY = {
    "FaceAligner": "alignment",
    "FaceBatches": "batches",
    "FaceDetector": "alignment",
    "PrepareOptions": "prepare",
    "RecordSet": "records",
    "align_face": "alignment",
    "open_source": "sources",
    "tf_dataset": "dataset",
}

__all__ = [
    "IMAGE_SIZE",
    "FaceAligner",
    "FaceBatches",
    "FaceDetector",
    "FaceFolder",
    "Faces",
    "IdentitySampler",
    "ImageError",
    "PrepareOptions",
    "RecordSet",
    "align_face",
    "check_images",
    "open_source",
    "read_image",
    "read_photo",
    "synthetic",
    "tf_dataset",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"gfkeras.data.{_LAZY[name]}"), name)
    if name == "synthetic":
        return importlib.import_module("gfkeras.data.synthetic")
    raise AttributeError(f"module 'gfkeras.data' has no attribute {name!r}")
