"""Alignment as commands choose it: of photos, or none for aligned faces."""

from __future__ import annotations

import os
from collections.abc import Callable

from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.errors import one_of

# From the side of the model's images to the aligner; None for faces that are aligned already.
Alignment = Callable[[int], FaceAligner | None]


def optional_alignment(
    align: bool, detector: str | os.PathLike[str] | None, face: str | None
) -> Alignment:
    """Returns the alignment of a command that takes aligned faces, and photos with `align`.

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
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(f"`{name}` needs --align. Received: {name}={str(value)!r}")
        return lambda size: None
    return _alignment(detector, one_of("face", face or "largest", ("largest", "central")))


def photo_alignment(
    aligned: bool,
    detector: str | os.PathLike[str] | None,
    face: str | None,
    choose: str = "largest",
    min_size: float = 0,
) -> Alignment:
    """Returns the alignment of a command that takes photos, and aligned faces with `aligned`.

    Args:
        aligned: the images are aligned faces already.
        detector: YuNet's file; downloaded once by default.
        face: which of several faces to take.
        choose: the default of `face`; "all" allows "all".
        min_size: leaves out faces of fewer pixels.

    Raises:
        ValueError: for `detector` or `face` with `aligned`, an unknown choice of face, and a
            detector that cannot be read.
    """
    if aligned:
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(f"`{name}` is of no use with --aligned. Received: {value}")
        return lambda size: None
    allowed = ("largest", "central", "all") if choose == "all" else ("largest", "central")
    return _alignment(detector, one_of("face", face or choose, allowed), min_size)


def _alignment(
    detector: str | os.PathLike[str] | None, choose: str, min_size: float = 0
) -> Alignment:
    found = FaceDetector(detector, min_face_size=min_size)
    return lambda size: FaceAligner(found, choose=choose, size=size)
