"""Reading faces: images, folders of folders, batches, augmentation, synthetic faces."""

from gfkeras.data.batches import FaceBatches
from gfkeras.data.faces import Faces
from gfkeras.data.folder import FaceFolder
from gfkeras.data.images import IMAGE_SIZE, ImageError, check_images, read_image

__all__ = [
    "IMAGE_SIZE",
    "FaceBatches",
    "FaceFolder",
    "Faces",
    "ImageError",
    "check_images",
    "read_image",
]
