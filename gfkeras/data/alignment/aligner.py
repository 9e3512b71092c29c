"""From a photo to aligned faces."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gfkeras.data.alignment.align import align_face, check_photo
from gfkeras.data.alignment.aligned_face import AlignedFace
from gfkeras.data.alignment.detector import FaceDetector
from gfkeras.data.alignment.no_face_error import NoFaceError
from gfkeras.data.alignment.selection import CHOICES, choose_faces
from gfkeras.data.alignment.template import FaceSize, face_size
from gfkeras.data.images import ImageError, read_photo
from gfkeras.errors import one_of

Photo = str | os.PathLike[str] | bytes | np.ndarray


class FaceAligner:
    """Finds the faces of photos and aligns them as the models need them.

    Can be pickled, and used by several threads, as `FaceDetector`.

    Args:
        detector: finds the faces; a `FaceDetector()` by default, made for the first photo
            without known landmarks, so that photos that all have them need no detector's file.
        choose: "largest" (default: right for most photos), "central" (for photos cut around the
            person named; with it all 807 raw photos of LFW's first fold give the published
            aligned faces, with "largest" 806 do), or "all".
        size: height and width of the aligned faces, or one number for both. (112, 96) is the
            format of CosFace and SphereFace.

    Raises:
        ValueError: for an unknown choice or a wrong size.

    Example:
        aligner = FaceAligner()
        result = Embedder(model).embed_files(["a.jpg", "b.jpg"], reader=aligner)
    """

    def __init__(
        self,
        detector: FaceDetector | None = None,
        choose: str = "largest",
        size: FaceSize = 112,
    ):
        self.detector = detector
        self.choose = one_of("choose", choose, CHOICES)
        self.size = face_size(size)

    def __call__(self, photo: Photo, landmarks: Any = None) -> np.ndarray:
        """The one aligned face of a photo, in place of `read_image`.

        Args:
            photo, landmarks: as of `faces`.

        Returns:
            (height, width, 3) uint8, RGB.

        Raises:
            NoFaceError: where no face is found.
            ImageError: for a photo that cannot be read, or landmarks that fit no face.
            ValueError: if all faces are asked for (`choose="all"`).
        """
        return self.face(photo, landmarks).image

    def face(self, photo: Photo, landmarks: Any = None) -> AlignedFace:
        """The one face of a photo with its place in it; as calling the aligner otherwise."""
        if self.choose == "all":
            raise ValueError(
                "`choose` must be 'largest' or 'central' for a single face; `faces` gives them "
                "all. Received: choose='all'"
            )
        found = self.faces(photo, landmarks)
        if not found:
            raise NoFaceError(_name(photo), "no face found")
        return found[0]

    def faces(self, photo: Photo, landmarks: Any = None) -> list[AlignedFace]:
        """The faces of a photo that `choose` names, the surest first.

        Args:
            photo: a file, the bytes of one, or an (H, W, 3) uint8 RGB array.
            landmarks: (5, 2) points in pixels, if they are known: nothing is detected then.

        Returns:
            A list; empty where no face is found.

        Raises:
            ImageError: for a photo that cannot be read, and for landmarks that are not five
                distinct points in the photo: the message names the file.
        """
        pixels = check_photo(photo) if isinstance(photo, np.ndarray) else read_photo(photo)
        if landmarks is not None:
            face = self._align(photo, pixels, landmarks)
            return [AlignedFace(face, np.asarray(landmarks, np.float32), None, None, 1)]
        if self.detector is None:
            self.detector = FaceDetector()
        found = self.detector.detect(pixels)
        return [
            AlignedFace(
                image=self._align(photo, pixels, found.landmarks[index]),
                landmarks=found.landmarks[index],
                box=found.boxes[index],
                score=float(found.scores[index]),
                faces=len(found),
            )
            for index in choose_faces(found, self.choose)
        ]

    def _align(self, photo: Photo, pixels: np.ndarray, landmarks: Any) -> np.ndarray:
        try:
            return align_face(pixels, landmarks, self.size)
        except ValueError as error:
            raise ImageError(_name(photo), str(error)) from error


def _name(photo: Photo) -> str:
    if isinstance(photo, np.ndarray):
        return "<array>"
    return "<bytes>" if isinstance(photo, bytes) else os.fspath(photo)
