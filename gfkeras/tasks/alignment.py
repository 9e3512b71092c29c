"""Face alignment for tasks whose images are photos or aligned faces."""

from collections.abc import Callable

import numpy as np

from gfkeras.data.alignment import CROP_SCALES, FaceAligner, FaceCropper, FaceDetector
from gfkeras.data.images import FaceSize, read_image
from gfkeras.data.photos import Photo
from gfkeras.errors import one_of
from gfkeras.files import PathLike

# Takes the model's image size in pixels. Returns the aligner, or None if faces are aligned already.
Alignment = Callable[[FaceSize], FaceAligner | None]


def make_alignment(
    align: bool,
    detector: PathLike | None,
    face: str | None,
    choose: str = "largest",
    min_size: float = 0,
) -> Alignment:
    """Returns the alignment of photos, or one that returns None for aligned faces.

    Opens the detector, which reports a missing file before a model is loaded.

    Args:
        align: find and align the face in each image.
        detector: YuNet file. By default, it is downloaded once.
        face: face to take from a photo, "largest" or "central".
        choose: default of `face`. If it is "all", `face` can also be "all".
        min_size: smallest face in pixels. Smaller faces are left out.

    Raises:
        ValueError: if `detector` or `face` is given for aligned faces, if `face` is unknown, or if
            the detector cannot be read.
    """
    if not align:
        # An option without effect is an error, because the user expects an effect.
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(
                    f"`{name}` is only for photos, not for aligned faces. "
                    f"Received: {name}={str(value)!r}"
                )
        return lambda size: None
    allowed = ("largest", "central", "all") if choose == "all" else ("largest", "central")
    chosen = one_of("face", face or choose, allowed)
    found = FaceDetector(detector, min_face_size=min_size)
    # The aligner needs the image size of the model, which is loaded later.
    return lambda size: FaceAligner(found, choose=chosen, size=size)


def face_reader(
    aligner: FaceAligner | FaceCropper | None, size: FaceSize, resize: bool = False
) -> Callable[[Photo], np.ndarray]:
    """Returns a function that reads the aligned face of a photo.

    `resize` scales aligned faces of another size, as in `read_image`.
    """
    return aligner or (lambda photo: read_image(photo, size, resize))


def make_crop(
    crop: str | None, scale: float | None, align: bool, detector: PathLike | None, face: str | None
) -> Callable[[FaceSize], FaceAligner | FaceCropper | None]:
    """Returns `make_alignment`, or with `crop` the same for faces cut out without landmarks.

    Args:
        crop: "center", "box" or None.
        scale: side of the cut square, as in `FaceCropper`.
        align, detector, face: see `make_alignment`. With "box", a detector and a choice are used.
    """
    if crop is None:
        if scale is not None:
            raise ValueError(f"`crop_scale` requires `crop` (--crop). Received: {scale}")
        return make_alignment(align, detector, face)
    one_of("crop", crop, CROP_SCALES)
    if align:
        raise ValueError(
            "`crop` (--crop) cannot be combined with `align` (--align). Received: both"
        )
    found = None
    if crop == "box":
        found = FaceDetector(detector)
    elif detector is not None or face is not None:
        raise ValueError("`detector` and `face` require `crop` (--crop) box. Received: crop=center")
    chosen = one_of("face", face or "largest", ("largest", "central"))
    try:
        FaceCropper(crop, scale, found)
    except ValueError as error:
        raise ValueError(str(error).replace("scale", "crop_scale")) from None
    return lambda size: FaceCropper(crop, scale, found, chosen, size)
