"""Faces cut out of photos without landmarks."""

from typing import Any

import numpy as np

from gfkeras.data.alignment.align import FaceSize, align_face, face_size, face_template
from gfkeras.data.alignment.aligner import NoFaceError, choose_faces
from gfkeras.data.alignment.detector import FaceDetector
from gfkeras.data.photos import Photo, photo_name, read_photo
from gfkeras.errors import one_of, positive, wrong_value

# The default scale of each crop, chosen on the first fold of LFW (docs/evaluation.md). There, the
# template of aligned faces covers 0.52 of the photo and 1.05 of the longer side of YuNet's box.
CROP_SCALES = {"center": 0.55, "box": 1.2}
# A smaller square has too few pixels for a face.
_LEAST_SCALE = 0.05


class FaceCropper:
    """Cuts a square out of a photo and scales it, without rotation and landmarks.

    FaceNet (arXiv 1503.03832, section 5.6) reports LFW in these two ways. Networks that were
    trained on aligned faces lose accuracy, and the loss shows what the alignment is worth. Parts
    outside the photo are black.

    Args:
        crop: "center" cuts the middle of the photo, and detects nothing. "box" cuts around the
            middle of the detector's box.
        scale: side of the square. For "center" it is a share of the photo's shorter side, by
            default 0.55. For "box" it is a multiple of the box's longer side, by default 1.2.
        detector: for "box": finds the faces. By default, a `FaceDetector()`.
        choose: for "box": "largest" or "central", as in `FaceAligner`.
        size: height and width of the result, or one number for both.

    Raises:
        ValueError: for an unknown crop or choice, or a scale below 0.05, above 1 for "center" or
            above 10 for "box".

    Example:
        face = FaceCropper("center")("photo.jpg")       # (112, 112, 3) uint8
    """

    def __init__(
        self,
        crop: str = "center",
        scale: float | None = None,
        detector: FaceDetector | None = None,
        choose: str = "largest",
        size: FaceSize = 112,
    ):
        self.crop = one_of("crop", crop, CROP_SCALES)
        most = 1 if crop == "center" else 10
        self.scale = positive("scale", CROP_SCALES[crop] if scale is None else scale)
        if not _LEAST_SCALE <= self.scale <= most:
            raise wrong_value(
                "scale", f"be from {_LEAST_SCALE} to {most} with crop={crop!r}", scale
            )
        self.detector = (detector or FaceDetector()) if crop == "box" else None
        self.choose = one_of("choose", choose, ("largest", "central"))
        self.size = face_size(size)

    def __call__(self, photo: Photo, landmarks: Any = None) -> np.ndarray:
        """Returns the cut face, (height, width, 3) uint8 RGB. Landmarks are not used.

        Raises ImageError for a file that cannot be read, and NoFaceError for "box" without a face.
        """
        pixels = read_photo(photo)
        middle, side = self._square(pixels, photo_name(photo))
        # A crop is an alignment whose landmarks are the template's, placed inside the square.
        height, width = self.size
        points = face_template(self.size) - [(width - 1) / 2, (height - 1) / 2]
        return align_face(pixels, points * (side / height) + middle, self.size)

    def _square(self, pixels: np.ndarray, name: str) -> tuple[np.ndarray, float]:
        """Returns the middle (x, y) and the side of the square in pixels."""
        height, width = pixels.shape[:2]
        if self.detector is None:
            return np.array([width - 1, height - 1]) / 2, self.scale * min(height, width)
        found = self.detector.detect(pixels)
        if not len(found):
            raise NoFaceError(name, "no face found")
        box = found.boxes[choose_faces(found, self.choose)[0]].astype(np.float64)
        return box[:2] + box[2:] / 2 - 0.5, self.scale * float(box[2:].max())
