"""Face detection in photos, and alignment by five landmarks."""

from gfkeras.data.alignment.align import (
    ARCFACE_TEMPLATE,
    align_face,
    face_template,
    similarity_transform,
)
from gfkeras.data.alignment.aligner import (
    MIN_EYE_DISTANCE,
    AlignedFace,
    FaceAligner,
    NoFaceError,
    choose_faces,
)
from gfkeras.data.alignment.cropper import CROP_SCALES, FaceCropper
from gfkeras.data.alignment.detector import Detections, FaceDetector

__all__ = [
    "ARCFACE_TEMPLATE", "CROP_SCALES", "MIN_EYE_DISTANCE", "AlignedFace", "Detections",
    "FaceAligner", "FaceCropper", "FaceDetector", "NoFaceError",
    "align_face", "choose_faces", "face_template", "similarity_transform",
]  # fmt: skip
