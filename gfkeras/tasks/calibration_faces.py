"""Calibration faces of an int8 export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gfkeras.data import FaceDetector, ImageError, read_photo
from gfkeras.downloads import DownloadError
from gfkeras.files import PathLike
from gfkeras.tasks.photo_files import images_in

# The detector misses some faces too.
_WITHOUT_FACE = 0.1


def calibration_faces(
    folder: PathLike,
    shape: tuple[int, ...],
    detector: PathLike | None = None,
    all_of_them: bool = False,
) -> tuple[np.ndarray, str | None]:
    """Reads the aligned faces in a folder and its folders, spread evenly over their names.

    Returns (N, H, W, 3) uint8 of the model's `shape` (H, W, 3), and a note where it was not checked
    that they show faces. Raises ValueError where there is no folder, fewer than 32 faces, images of
    another size, files that are no images, or faces that the detector does not see.
    """
    from gfkeras.export import MAX_FACES, MIN_FACES

    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"`calibration` must be a folder of faces. Received: {str(root)!r}")
    files = images_in(root)
    if len(files) < MIN_FACES:
        raise ValueError(
            f"`calibration` must hold at least {MIN_FACES} faces. "
            f"Received: {str(root)!r} with {len(files)} images"
        )
    enough = np.linspace(0, len(files) - 1, min(MAX_FACES, len(files))).astype(int)
    chosen = files if all_of_them else [files[i] for i in enough]
    faces = np.stack([_read(path, shape) for path in chosen])
    return faces, _check_faces(faces[enough] if all_of_them else faces, root, detector)


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        image = read_photo(path)
    except ImageError as error:
        raise ValueError(f"`calibration` holds what is no image: {error}") from error
    if image.shape != tuple(shape):
        raise ValueError(
            f"`calibration` must hold aligned faces of {shape[0]}x{shape[1]}; "
            "`gfkeras prepare PHOTOS DIR --align` makes them. "
            f"Received: {path} of {image.shape[0]}x{image.shape[1]}"
        )
    return image


def _check_faces(images: np.ndarray, folder: Path, detector: PathLike | None) -> str | None:
    try:
        detect = FaceDetector(detector).detect
    except DownloadError as error:
        return f"Whether the calibration images show faces was not checked: {error}"
    without = sum(not len(detect(image)) for image in images)
    if without > _WITHOUT_FACE * len(images):
        raise ValueError(
            "`calibration` must hold faces: ranges of other pictures fit none. "
            f"Received: {str(folder)!r}, where {without} of {len(images)} images show no face"
        )
    return None
