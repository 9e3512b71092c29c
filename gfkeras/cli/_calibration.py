"""The calibration folder of `gfkeras export --precision int8`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.cli._output import say

# A detector misses some faces too.
_WITHOUT_FACE = 0.1


def calibration_faces(
    folder: Path,
    shape: tuple[int, ...],
    detector: Path | None = None,
    all_of_them: bool = False,
) -> Any:
    """Aligned faces of a folder and its folders, evenly spread over their names.

    Args:
        folder: of images, aligned by five points.
        shape: (H, W, 3) that the model takes.
        detector: YuNet's file; found or downloaded as elsewhere by default.
        all_of_them: and not only as many as ranges need.

    Returns:
        (N, H, W, 3) uint8.

    Raises:
        ValueError: where there is no folder, fewer than 32 faces, images of another size, files
            that are no images, or faces that the detector does not see.
    """
    import numpy as np

    from gfkeras.data import ImageError, read_photo
    from gfkeras.data.images import IMAGE_SUFFIXES
    from gfkeras.export import MAX_FACES, MIN_FACES
    from gfkeras.files import natural_key

    if not folder.is_dir():
        raise ValueError(f"`calibration` must be a folder of faces. Received: {str(folder)!r}")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    files.sort(key=lambda path: natural_key(str(path)))
    if len(files) < MIN_FACES:
        raise ValueError(
            f"`calibration` must hold at least {MIN_FACES} faces. "
            f"Received: {str(folder)!r} with {len(files)} images"
        )
    enough = np.linspace(0, len(files) - 1, min(MAX_FACES, len(files))).astype(int)
    chosen = files if all_of_them else [files[i] for i in enough]
    images = []
    for path in chosen:
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
        images.append(image)
    faces = np.stack(images)
    _check_faces(faces[enough] if all_of_them else faces, folder, detector)
    return faces


def _check_faces(images: Any, folder: Path, detector: Path | None) -> None:
    from gfkeras.data import FaceDetector
    from gfkeras.downloads import DownloadError

    try:
        detect = FaceDetector(detector).detect
    except DownloadError as error:
        say(f"Whether the calibration images show faces was not checked: {error}")
        return
    without = sum(not len(detect(image)) for image in images)
    if without > _WITHOUT_FACE * len(images):
        raise ValueError(
            "`calibration` must hold faces: ranges of other pictures fit none. "
            f"Received: {str(folder)!r}, where {without} of {len(images)} images show no face"
        )
