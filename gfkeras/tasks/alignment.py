"""Alignment as tasks choose it: of photos, or none for aligned faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gfkeras.data import read_image
from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.data.photos import Photo
from gfkeras.errors import one_of
from gfkeras.files import PathLike

# From the side of the model's images to the aligner; None for faces that are aligned already.
Alignment = Callable[[int], FaceAligner | None]


def make_alignment(
    align: bool,
    detector: PathLike | None,
    face: str | None,
    choose: str = "largest",
    min_size: float = 0,
) -> Alignment:
    """Returns the alignment of photos, or that of faces that are aligned already.

    The detector is opened here, so that a missing file is an error before a model is opened.

    Args:
        align: find and align the face in each image.
        detector: YuNet's file; downloaded once by default.
        face: which of several faces to take, "largest" or "central".
        choose: the default of `face`; "all" allows "all".
        min_size: leaves out faces of fewer pixels.

    Raises:
        ValueError: for `detector` or `face` of aligned faces, an unknown choice of face, and a
            detector that cannot be read.
    """
    if not align:
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(
                    f"`{name}` is of no use for aligned faces (--aligned, or no --align). "
                    f"Received: {name}={str(value)!r}"
                )
        return lambda size: None
    allowed = ("largest", "central", "all") if choose == "all" else ("largest", "central")
    chosen = one_of("face", face or choose, allowed)
    found = FaceDetector(detector, min_face_size=min_size)
    return lambda size: FaceAligner(found, choose=chosen, size=size)


def face_reader(
    aligner: FaceAligner | None, size: int, resize: bool = False
) -> Callable[[Photo], np.ndarray]:
    """Returns a function from a photo to its aligned face; `resize` is that of `read_image`."""
    return aligner or (lambda photo: read_image(photo, size, resize))
