"""Alignment as tasks choose it: of photos, or none for aligned faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gfkeras.data import read_image
from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.errors import one_of
from gfkeras.files import PathLike

# From the side of the model's images to the aligner; None for faces that are aligned already.
Alignment = Callable[[int], FaceAligner | None]


def optional_alignment(align: bool, detector: PathLike | None, face: str | None) -> Alignment:
    """Returns the alignment of a task that takes aligned faces, and photos with `align`.

    The detector is opened here, so that a missing file is an error before a model is opened.

    Args:
        align: find and align the face in each image.
        detector: YuNet's file; downloaded once by default.
        face: which of several faces to take, "largest" (default) or "central".

    Raises:
        ValueError: for `detector` or `face` without `align`, an unknown choice of face, and a
            detector that cannot be read.
    """
    if not align:
        _refuse(detector, face, "needs `align` (--align)")
    return _alignment(align, detector, face, "largest")


def photo_alignment(
    aligned: bool,
    detector: PathLike | None,
    face: str | None,
    choose: str = "largest",
    min_size: float = 0,
) -> Alignment:
    """Returns the alignment of a task that takes photos, and aligned faces with `aligned`.

    As `optional_alignment`, with the default of `face` in `choose`, which also allows "all", and
    `min_size`, the least size of a face in pixels.
    """
    if aligned:
        _refuse(detector, face, "is of no use with `aligned` (--aligned)")
    return _alignment(not aligned, detector, face, choose, min_size)


def face_reader(aligner: FaceAligner | None, size: int) -> Callable[[Path], np.ndarray]:
    """Returns a function from a file to its aligned face."""
    return aligner or (lambda path: read_image(path, size))


def _refuse(detector: PathLike | None, face: str | None, why: str) -> None:
    for name, value in (("detector", detector), ("face", face)):
        if value is not None:
            raise ValueError(f"`{name}` {why}. Received: {name}={str(value)!r}")


def _alignment(
    align: bool, detector: PathLike | None, face: str | None, choose: str, min_size: float = 0
) -> Alignment:
    if not align:
        return lambda size: None
    allowed = ("largest", "central", "all") if choose == "all" else ("largest", "central")
    chosen = one_of("face", face or choose, allowed)
    found = FaceDetector(detector, min_face_size=min_size)
    return lambda size: FaceAligner(found, choose=chosen, size=size)
