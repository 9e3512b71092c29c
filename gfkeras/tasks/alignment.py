"""Aligners for tasks that take photos, and for tasks that take aligned faces."""

from __future__ import annotations

import os
from typing import Any

from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.errors import one_of

Detector = str | os.PathLike[str] | None


def check_photo_options(
    aligned: bool, detector: Detector, face: str | None, choices: tuple[str, ...]
) -> None:
    """Raises ValueError for a detector or a choice of face where nothing is detected.

    Args:
        aligned: whether the images are aligned faces already.
        detector, face: as of `photo_aligner`.
        choices: the values of `face`.
    """
    if aligned:
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(f"`{name}` is of no use for aligned faces. Received: {value}")
    elif face is not None:
        one_of("face", face, choices)


ONE_FACE = ("largest", "central")
ANY_FACES = ("largest", "central", "all")


def photo_aligner(
    aligned: bool,
    detector: Detector,
    face: str | None,
    size: int,
    choose: str = "largest",
    min_size: float = 0,
) -> FaceAligner | None:
    """The aligner of a task that takes photos; None for faces that are aligned already.

    Args:
        aligned: whether the images are aligned faces already.
        detector: YuNet's file; downloaded once by default.
        face: which of several faces in a photo.
        size: height and width of the aligned faces in pixels.
        choose: the default of `face`; with "all", `face` may be "all" too.
        min_size: faces of fewer pixels are left out.

    Raises:
        ValueError: for a detector or a face with `aligned`, an unknown choice of face, and a
            detector that cannot be read.
        DownloadError: if the detector's file cannot be downloaded.
    """
    check_photo_options(aligned, detector, face, ANY_FACES if choose == "all" else ONE_FACE)
    if aligned:
        return None
    return FaceAligner(FaceDetector(detector, min_face_size=min_size), face or choose, size)


def make_aligner(
    align: bool, detector: Detector, face: str | None, size: int
) -> FaceAligner | None:
    """The aligner of a task that takes aligned faces; None unless `align`.

    Args:
        align: whether the images are photos.
        detector, face, size: as of `photo_aligner`.

    Raises:
        ValueError: for a detector or a face without `align`, an unknown choice of face, and a
            detector that cannot be read.
    """
    if align:
        return photo_aligner(False, detector, face, size)
    given: dict[str, Any] = {"detector": detector, "face": face}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"`{name}` needs --align. Received: {name}={str(value)!r}")
    return None
