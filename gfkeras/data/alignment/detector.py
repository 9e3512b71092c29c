"""Face detection: boxes and five landmarks."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import cv2
import numpy as np

from gfkeras.data.alignment.align import check_photo
from gfkeras.data.alignment.yunet import open_yunet, yunet_bytes
from gfkeras.errors import in_range, positive_int
from gfkeras.files import PathLike

# YuNet finds nothing in fewer pixels: a smaller photo is scaled up to this.
_MIN_SIZE = 96


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces of one photo, the surest first.

    Attributes:
        boxes: (N, 4) float32, x and y of the upper left corner, width and height in pixels; a face
            at the photo's edge can reach beyond it.
        landmarks: (N, 5, 2) float32 points (x, y): left eye, right eye, tip of the nose, left and
            right corner of the mouth, as seen in the image.
        scores: (N,) float32 in 0…1.
        photo_size: height and width of the photo.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    photo_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """Finds faces and five landmarks of each with YuNet, through OpenCV.

    YuNet reliably finds faces of about 20 to 600 pixels. So a photo is scaled down to `max_size`
    first; a face of less than 1/30 of the photo's longer side needs a larger `max_size`. Where
    nothing is found, a photo is tried once more at half the size, for a face that fills it. The
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
        max_size: longer side, in pixels, at which a larger photo is searched.
        min_face_size: faces whose box is narrower or lower than this many pixels of the photo are
            left out.

    Raises:
        ValueError: for a file that is no YuNet network, and for arguments out of range.
        DownloadError: where no file is given and the public one cannot be downloaded.

    Example:
        found = FaceDetector().detect(read_photo("photo.jpg"))
        print(len(found), found.boxes, found.scores)
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

    def detect(self, image: Any) -> Detections:
        """The faces of one upright photo, (H, W, 3) uint8 RGB, the surest first.

        `read_photo` applies the EXIF orientation. Another shape or type raises ValueError.
        """
        photo = check_photo(image)
        longest = max(photo.shape[:2])
        side = min(max(longest, _MIN_SIZE), max(self.max_size, _MIN_SIZE))
        found = self._search(photo, side / longest)
        if not len(found) and side // 2 >= _MIN_SIZE:
            found = self._search(photo, side / 2 / longest)
        boxes, landmarks, scores = found[:, :4], found[:, 4:14].reshape(-1, 5, 2), found[:, 14]
        kept = np.isfinite(found).all(axis=1) & (boxes[:, 2:] >= self.min_face_size).all(axis=1)
        # By score; equal scores by place, so that the order never depends on the network's.
        order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
        order = order[kept[order]]
        photo_size = (photo.shape[0], photo.shape[1])
        return Detections(boxes[order], landmarks[order], scores[order], photo_size)

    def _search(self, photo: np.ndarray, scale: float) -> np.ndarray:
        """YuNet's rows (box, landmarks, score) in the photo's pixels, searched at a scale."""
        height, width = photo.shape[:2]
        if scale != 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            photo = cv2.resize(photo, size, interpolation=way)
        network = self._network()
        network.setInputSize((photo.shape[1], photo.shape[0]))
        # YuNet was trained on OpenCV's channel order.
        _, found = network.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
        if found is None:
            return np.zeros((0, 15), np.float32)
        if scale != 1:
            # A pixel's centre is at a whole number, at every scale.
            ratio = np.array([width / photo.shape[1], height / photo.shape[0]], np.float32)
            points = found[:, :14].reshape(-1, 7, 2)
            points *= ratio
            points[:, [0, 2, 3, 4, 5, 6]] += (ratio - 1) / 2
        return found

    def _network(self) -> Any:
        """This thread's own network."""
        if not hasattr(self._local, "network"):
            thresholds = (self.score_threshold, self.nms_threshold)
            self._local.network = open_yunet(self._content, self._name, *thresholds)
        return self._local.network
