"""Finding faces in photos and aligning them by five points."""

from gfkeras.data.alignment.align import align_face
from gfkeras.data.alignment.aligned_face import AlignedFace
from gfkeras.data.alignment.aligner import FaceAligner
from gfkeras.data.alignment.detections import Detections
from gfkeras.data.alignment.detector import FaceDetector
from gfkeras.data.alignment.no_face_error import NoFaceError
from gfkeras.data.alignment.selection import choose_faces
from gfkeras.data.alignment.similarity import similarity_transform
from gfkeras.data.alignment.template import ARCFACE_TEMPLATE, face_template

__all__ = [
    "ARCFACE_TEMPLATE",
    "AlignedFace",
    "Detections",
    "FaceAligner",
    "FaceDetector",
    "NoFaceError",
    "align_face",
    "choose_faces",
    "face_template",
    "similarity_transform",
]
