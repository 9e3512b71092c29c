"""Aligned faces of photos."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gfkeras.data.alignment.align import (
    ARCFACE_TEMPLATE,
    FaceSize,
    align_face,
    face_size,
    similarity_transform,
)
from gfkeras.data.alignment.detector import Detections, FaceDetector
from gfkeras.data.images import warn_of_bgr
from gfkeras.data.photos import Photo, photo_name, read_photo
from gfkeras.errors import ImageError, one_of

CHOICES = ("largest", "central", "all")
# Pixels between the eyes; docs/data.md has what faces with fewer are worth.
MIN_EYE_DISTANCE = 14.0
# Texture scores up to this; faces of LFW score at least 0.88, with few pixels at least 0.7.
_DOUBTFUL_SCORE = 0.7
_TEMPLATE_EYES = float(np.linalg.norm(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0]))


@dataclasses.dataclass(frozen=True)
class AlignedFace:
    """An aligned face and where it was in the photo.

    Attributes:
        image: (height, width, 3) uint8, RGB.
        landmarks: (5, 2) float32 points (x, y) in pixels of the photo.
        box: (4,) float32 x, y, width and height in the photo; None for known landmarks.
        score: how sure the detector was, 0…1; None for known landmarks.
        faces: how many faces the photo has, this one included; 1 for known landmarks.
        rotated: by how many degrees the photo must be turned clockwise to stand upright; 0 for
            known landmarks.
    """

    image: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray | None
    score: float | None
    faces: int
    rotated: int = 0

    @property
    def eye_distance(self) -> float:
        """Pixels of the photo between the eyes, as of a face seen from the front.

        It follows from the scale of the alignment, so that a profile is not taken for a small face.
        """
        (a, b, _), _ = similarity_transform(self.landmarks, ARCFACE_TEMPLATE)
        return float(_TEMPLATE_EYES / np.hypot(a, b))

    @property
    def too_small(self) -> bool:
        """Whether the face has too few pixels to tell people apart: `eye_distance` < 14."""
        return self.eye_distance < MIN_EYE_DISTANCE

    @property
    def problem(self) -> str | None:
        """Why a similarity of this face can mislead, in words; None where nothing is known."""
        if self.too_small:
            return (
                f"the face is too small, {self.eye_distance:.0f} pixels between the eyes of at "
                f"least {MIN_EYE_DISTANCE:.0f}"
            )
        if self.score is not None and self.score < _DOUBTFUL_SCORE:
            return f"this is perhaps not a face, the detector is unsure ({self.score:.2f})"
        return None


class NoFaceError(ImageError):
    """A photo that can be read but in which no face was found.

    Code that handles an `ImageError`, such as `Embedder.embed_files`, lists such a photo with the
    unreadable ones. Nothing is ever cut out of the middle instead.
    """


def choose_faces(detections: Detections, choose: str = "largest") -> np.ndarray:
    """Indices of the faces that are meant: int64, the surest first.

    Args:
        detections: of one photo.
        choose: "largest", the box with the greatest area: right for most photos, where bystanders
            are further away. "central", the box whose middle is nearest to the photo's: right for
            data sets whose photos were cut around the person named, such as LFW. "all", every
            face. Of equals the surest is taken.
    """
    one_of("choose", choose, CHOICES)
    if choose == "all" or not len(detections):
        return np.arange(len(detections))
    corners, extents = np.split(detections.boxes.astype(np.float64), 2, axis=1)
    if choose == "largest":
        return np.array([np.argmax(np.prod(extents, axis=1))])
    height, width = detections.photo_size
    offsets = corners + extents / 2 - [width / 2, height / 2]
    return np.array([np.argmin(np.square(offsets).sum(axis=1))])


class FaceAligner:
    """Finds the faces of photos and aligns them as the models need them.

    Can be pickled, and used by several threads, as `FaceDetector`.

    Args:
        detector: finds the faces; a `FaceDetector()` by default, made for the first photo without
            known landmarks, so that photos that all have them need no detector's file.
        choose: "largest" (default: right for most photos), "central" (for photos cut around the
            person named; with it all 807 raw photos of LFW's first fold give the published aligned
            faces, with "largest" 806 do), or "all".
        size: height and width of the aligned faces, or one number for both. (112, 96) is the format
            of CosFace and SphereFace.

    Raises:
        ValueError: for an unknown choice or a wrong size.

    Example:
        aligner = FaceAligner()
        result = Embedder(model).embed_files(["a.jpg", "b.jpg"], reader=aligner)
    """

    def __init__(
        self, detector: FaceDetector | None = None, choose: str = "largest", size: FaceSize = 112
    ):
        self.detector = detector
        self.choose = one_of("choose", choose, CHOICES)
        self.size = face_size(size)

    def __call__(self, photo: Photo, landmarks: Any = None) -> np.ndarray:
        """The image of `face`, (height, width, 3) uint8 RGB, in place of `read_image`."""
        return self.face(photo, landmarks).image

    def face(self, photo: Photo, landmarks: Any = None) -> AlignedFace:
        """The one face of a photo with its place in it; arguments and errors are as of `faces`.

        Raises NoFaceError where no face is found, and ValueError with `choose="all"`.
        """
        if self.choose == "all":
            raise ValueError(
                "`choose` must be 'largest' or 'central' for a single face; `faces` gives them "
                "all. Received: choose='all'"
            )
        found = self.faces(photo, landmarks)
        if not found:
            raise NoFaceError(photo_name(photo), "no face found")
        return found[0]

    def faces(self, photo: Photo, landmarks: Any = None) -> list[AlignedFace]:
        """The faces of a photo that `choose` names, the surest first; none where none is found.

        Args:
            photo: what `read_photo` takes: a path, the bytes of a file, a PIL image, or an array
                (H, W, 3), RGB 0…255; ImageError names a file that cannot be read.
            landmarks: (5, 2) distinct points in pixels, else ImageError, if they are known: then
                nothing is detected.
        """
        pixels = read_photo(photo)
        if landmarks is not None:
            face = self._align(photo, pixels, landmarks)
            return [AlignedFace(face, np.asarray(landmarks, np.float32), None, None, 1)]
        if self.detector is None:
            self.detector = FaceDetector()
        found = self.detector.detect(pixels, thorough=self.choose == "all")
        faces = []
        for index in choose_faces(found, self.choose):
            box, points, score = found.boxes[index], found.landmarks[index], found.scores[index]
            image = self._align(photo, pixels, points)
            if photo_name(photo) == "<array>":
                warn_of_bgr(image[np.newaxis], "photo")
            faces.append(AlignedFace(image, points, box, float(score), len(found), found.rotated))
        return faces

    def _align(self, photo: Photo, pixels: np.ndarray, landmarks: Any) -> np.ndarray:
        try:
            return align_face(pixels, landmarks, self.size)
        except ValueError as error:
            raise ImageError(photo_name(photo), str(error)) from error
