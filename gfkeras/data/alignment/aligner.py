"""Aligned faces of photos."""

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
# Pixels between the eyes. docs/data.md has the accuracy that was measured for smaller faces.
MIN_EYE_DISTANCE = 14.0
# Texture can score up to this value. Faces of LFW score at least 0.88, small ones at least 0.7.
_DOUBTFUL_SCORE = 0.7
_TEMPLATE_EYES = float(np.linalg.norm(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0]))


@dataclasses.dataclass(frozen=True)
class AlignedFace:
    """An aligned face and where it was in the photo.

    Attributes:
        image: (height, width, 3) uint8, RGB.
        landmarks: (5, 2) float32 points (x, y) in pixels of the photo.
        box: (4,) float32 x, y, width and height in the photo, or None if the landmarks were given.
        score: how sure the detector is, 0…1, or None if the landmarks were given.
        faces: number of faces in the photo, including this one. 1 if the landmarks were given.
        rotated: degrees by which the photo must be turned clockwise to be upright. 0 if the
            landmarks were given.
    """

    image: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray | None
    score: float | None
    faces: int
    rotated: int = 0

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels of the photo, for a face seen from the front.

        It is computed from the scale of the alignment. A profile, whose eyes are close together in
        the image, is therefore not mistaken for a small face.
        """
        # The first row of the matrix is (s·cos θ, −s·sin θ, shift), so hypot(a, b) is the scale s.
        (a, b, _), _ = similarity_transform(self.landmarks, ARCFACE_TEMPLATE)
        return float(_TEMPLATE_EYES / np.hypot(a, b))

    @property
    def too_small(self) -> bool:
        """Whether the face has too few pixels to tell people apart: `eye_distance` < 14."""
        return self.eye_distance < MIN_EYE_DISTANCE

    @property
    def problem(self) -> str | None:
        """Why a similarity of this face may be wrong, in words, or None if no reason is known."""
        if self.too_small:
            return (
                f"the face is too small, with {self.eye_distance:.0f} pixels between the eyes "
                f"instead of at least {MIN_EYE_DISTANCE:.0f}"
            )
        if self.score is not None and self.score < _DOUBTFUL_SCORE:
            return f"this may not be a face, because the detector is unsure ({self.score:.2f})"
        return None


class NoFaceError(ImageError):
    """Raised for a readable photo without a face.

    Code that handles `ImageError`, such as `Embedder.embed_files`, lists such a photo with the
    unreadable ones. The middle of the photo is never used instead.
    """


def choose_faces(detections: Detections, choose: str = "largest") -> np.ndarray:
    """Returns the indices of the chosen faces, int64, the surest first.

    Args:
        detections: the faces of one photo.
        choose: "largest" is the box with the largest area. It is right for most photos, in which
            bystanders are further away. "central" is the box whose middle is nearest to the middle
            of the photo. It is right for data sets whose photos were cut around the named person,
            such as LFW. "all" is every face. If several faces are equal, the surest is chosen.
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

    An aligner can be pickled, and several threads can use it, as with `FaceDetector`.

    Args:
        detector: finds the faces. By default a `FaceDetector()` is created for the first photo
            whose landmarks are not given. If you always give landmarks, no detector file is needed.
        choose: "largest" (default, right for most photos), "central" (for photos cut around the
            named person) or "all". For all 807 raw photos in LFW's first fold, "central" gives the
            published aligned faces. "largest" does so for 806.
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
        """Returns the image of `face`, (height, width, 3) uint8 RGB, as `read_image` does."""
        return self.face(photo, landmarks).image

    def face(self, photo: Photo, landmarks: Any = None) -> AlignedFace:
        """Returns the one face of a photo. Arguments and errors are those of `faces`.

        Raises NoFaceError if no face is found, and ValueError with `choose="all"`.
        """
        if self.choose == "all":
            raise ValueError(
                "`choose` must be 'largest' or 'central' for a single face. Call `faces` to get "
                "all of them. Received: choose='all'"
            )
        found = self.faces(photo, landmarks)
        if not found:
            raise NoFaceError(photo_name(photo), "no face found")
        return found[0]

    def faces(self, photo: Photo, landmarks: Any = None) -> list[AlignedFace]:
        """Returns the faces of a photo that `choose` selects, the surest first.

        The list is empty if no face is found.

        Args:
            photo: anything that `read_photo` accepts: a path, the bytes of a file, a PIL image, or
                an array (H, W, 3), RGB 0…255.
            landmarks: (5, 2) distinct points in pixels, if you know them. Detection is then
                skipped.

        Raises:
            ImageError: for a file that cannot be read, and for unusable landmarks.
        """
        pixels = read_photo(photo)
        if landmarks is not None:
            face = self._align(photo, pixels, landmarks)
            return [AlignedFace(face, np.asarray(landmarks, np.float32), None, None, 1)]
        if self.detector is None:
            self.detector = FaceDetector()
        # Small faces in the background matter only if all faces are used.
        found = self.detector.detect(pixels, thorough=self.choose == "all")
        faces = []
        for index in choose_faces(found, self.choose):
            box, points, score = found.boxes[index], found.landmarks[index], found.scores[index]
            image = self._align(photo, pixels, points)
            # The channel order of an array is unknown. Warn if the face looks like BGR.
            if photo_name(photo) == "<array>":
                warn_of_bgr(image[np.newaxis], "photo")
            faces.append(AlignedFace(image, points, box, float(score), len(found), found.rotated))
        return faces

    def _align(self, photo: Photo, pixels: np.ndarray, landmarks: Any) -> np.ndarray:
        try:
            return align_face(pixels, landmarks, self.size)
        except ValueError as error:
            raise ImageError(photo_name(photo), str(error)) from error
