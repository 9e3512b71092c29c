"""Face detection: boxes and five landmarks."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import cv2
import numpy as np

from gfkeras.data.alignment.face_search import search_faces
from gfkeras.data.alignment.yunet import open_yunet, yunet_bytes
from gfkeras.data.photos import Photo, read_photo
from gfkeras.errors import in_range, positive_int
from gfkeras.files import PathLike


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces of one photo, the surest first.

    Attributes:
        boxes: (N, 4) float32, x and y of the upper left corner, width and height in pixels; a face
            at the photo's edge can reach beyond it.
        landmarks: (N, 5, 2) float32 points (x, y): left eye, right eye, tip of the nose, left and
            right corner of the mouth, as seen in the upright image.
        scores: (N,) float32 in 0…1.
        photo_size: height and width of the photo.
        rotated: by how many degrees the photo must be turned clockwise to stand upright: 0, 90, 180
            or 270. Boxes and landmarks are those of the photo as it came.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    photo_size: tuple[int, int]
    rotated: int = 0

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """Finds faces and five landmarks of each with YuNet, through OpenCV.

    YuNet reliably finds faces of about 20 to 600 pixels. So a photo is scaled down to `max_size`
    first. Where that shows no face beyond doubt, the photo is searched at half the size and with a
    border (for a face that fills it), turned by right angles, and at finer scales, up to 16
    million pixels in parts of 1280×1280. A face of 30 pixels is found in a photo of 4,000. The
    same photo gives the same faces in every thread and process; landmarks are precise to about 2 %
    of the face's width.

    A detector can be pickled and used by several threads: each thread and each process opens an
    OpenCV network of its own. OpenCV spreads a single photo over all cores; where threads or
    processes of yours share the cores, `cv2.setNumThreads(1)` is faster.

    Args:
        model: a YuNet file (`face_detection_yunet_2023mar.onnx`). By default the file that the
            environment variable GFKERAS_YUNET names, else `models/` of the folder in GFKERAS_DATA,
            else the public one: it is downloaded once, into the cache, and its SHA-256 checked.
        score_threshold: how sure a face must be, 0…1.
        nms_threshold: boxes that overlap more than this (intersection over union) are one face.
        max_size: longer side, in pixels, at which a larger photo is searched first.
        min_face_size: faces whose box is narrower or lower than this many pixels of the photo are
            left out.

    Raises:
        ValueError: for a file that is no YuNet network, and for arguments out of range.
        DownloadError: where no file is given and the public one cannot be downloaded.

    Example:
        found = FaceDetector().detect("photo.jpg")
        print(len(found), found.boxes, found.scores, found.rotated)
    """

    def __init__(
        self,
        model: PathLike | None = None,
        score_threshold: float = 0.6,
        nms_threshold: float = 0.3,
        max_size: int = 640,
        min_face_size: float = 0,
    ):
        self.model = model
        self.score_threshold = in_range("score_threshold", score_threshold, 0, 1)
        self.nms_threshold = in_range("nms_threshold", nms_threshold, 0, 1)
        self.max_size = positive_int("max_size", max_size)
        self.min_face_size = in_range("min_face_size", min_face_size, 0, np.inf)
        # Kept, so that workers need no file and none can change between two of them.
        self._content, self._name = yunet_bytes(model)
        self._local = threading.local()
        self._network()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def detect(self, photo: Photo, thorough: bool = False) -> Detections:
        """The faces of one photo, the surest first.

        Args:
            photo: what `read_photo` takes: a path, the bytes of a file, a PIL image, or an array
                (H, W, 3), RGB 0…255. The EXIF orientation of a file is applied.
            thorough: look for smaller faces although one was found. Without it the search ends at
                the first scale that shows a face beyond doubt, so that a group photo can lack those
                in the background.

        Raises:
            ImageError: for a file that cannot be read.
            ValueError: for what is no photo.
        """
        pixels = read_photo(photo, "image")
        rows, rotated = search_faces(
            pixels, self._find, self.max_size, self.nms_threshold, self.min_face_size, thorough
        )
        boxes, landmarks, scores = rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]
        kept = np.asarray((boxes[:, 2:] >= self.min_face_size).all(axis=1))
        # By score; equal scores by place, so that the order never depends on the network's.
        order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
        order = order[kept[order]]
        photo_size = (pixels.shape[0], pixels.shape[1])
        return Detections(boxes[order], landmarks[order], scores[order], photo_size, rotated)

    def _find(self, image: np.ndarray) -> np.ndarray:
        """YuNet's rows (box, landmarks, score) in an image's pixels."""
        network = self._network()
        network.setInputSize((image.shape[1], image.shape[0]))
        # YuNet was trained on OpenCV's channel order.
        _, found = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return np.zeros((0, 15), np.float32) if found is None else found

    def _network(self) -> Any:
        """This thread's own network."""
        if not hasattr(self._local, "network"):
            thresholds = (self.score_threshold, self.nms_threshold)
            self._local.network = open_yunet(self._content, self._name, *thresholds)
        return self._local.network
