"""Face detection by YuNet: its file, and boxes and five landmarks of faces."""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gfkeras.data.alignment.face_search import search_faces
from gfkeras.data.photos import Photo, read_photo
from gfkeras.downloads import DownloadError, fetch_file
from gfkeras.errors import in_range, positive_int, wrong
from gfkeras.files import PathLike, read_small

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
YUNET_URL = f"{_ZOO}/face_detection_yunet/{YUNET_NAME}"
YUNET_VARIABLE = "GFKERAS_YUNET"
# The folder of data sets and models. The tests read it too.
DATA_VARIABLE = "GFKERAS_DATA"
# The name of the file in the zoo.
YUNET_PRESET = "face_detection_yunet"
# The log level belongs to the process. Without the lock, one thread could save the silent level
# that another one had set, and restore it for good.
_log_level = threading.Lock()


def yunet_bytes(model: PathLike | None = None) -> tuple[bytes, str]:
    """Returns the bytes of the network's file, and its name for messages.

    Without `model`, this is the file that the environment variable GFKERAS_YUNET names, then the
    one in `models/` of the folder that GFKERAS_DATA names, then the public one, which is downloaded
    once and checked by its SHA-256. Raises ValueError if the file cannot be read, and
    DownloadError.
    """
    named = os.environ.get(YUNET_VARIABLE)
    if model is None and named:
        source, origin = Path(named), f"the environment variable {YUNET_VARIABLE}"
    elif model is None:
        source, origin = _found_or_fetched()
    else:
        source, origin = Path(model), "`model`"
    try:
        return read_small(source), str(source)
    except OSError as error:
        raise ValueError(
            f"{origin} must name the file of a YuNet face detector. "
            f"Received: {str(source)!r} ({error.strerror or error})"
        ) from error


def _found_or_fetched() -> tuple[Path, str]:
    data = os.environ.get(DATA_VARIABLE)
    if data:
        source = Path(data).expanduser() / "models" / YUNET_NAME
        if source.is_file():
            return source, f"the environment variable {DATA_VARIABLE}"
    try:
        return fetch_file(YUNET_URL, YUNET_SHA256), "the download"
    except DownloadError as error:
        raise DownloadError(
            error.url,
            f"{error.reason}. Photos need this face detector. On a machine with a network, run "
            f"`gfkeras zoo download {YUNET_PRESET} --out DIR`, then set "
            f"{YUNET_VARIABLE}=DIR/{YUNET_NAME}",
        ) from error


def open_yunet(content: bytes, name: str, score_threshold: float, nms_threshold: float) -> Any:
    """Opens the bytes of a YuNet file as a detector. Raises ValueError for any other file."""
    try:
        with _quiet():
            model, no_config = np.frombuffer(content, np.uint8), np.zeros(0, np.uint8)
            thresholds = (score_threshold, nms_threshold)
            detector = cv2.FaceDetectorYN.create(
                "onnx", model, no_config, (32, 32), *thresholds, 5000
            )
            # OpenCV opens any ONNX network here. Another network fails only at the first image.
            detector.detect(np.zeros((32, 32, 3), np.uint8))
    except cv2.error as error:
        reason = str(error).strip().rsplit("error: ", 1)[-1].partition("\n")[0]
        expected = f"be the ONNX file of a YuNet face detector, such as {YUNET_NAME}"
        raise wrong("model", expected, f"{name!r}, {len(content):,} bytes ({reason})") from error
    return detector


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides OpenCV's log: it warns about a setting that FaceDetectorYN itself makes."""
    with _log_level:
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(before)


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces of one photo, the surest first.

    Attributes:
        boxes: (N, 4) float32 x and y of the upper left corner, width and height, in pixels. The box
            of a face at the photo's edge can extend beyond the photo.
        landmarks: (N, 5, 2) float32 points (x, y): left eye, right eye, tip of the nose, left and
            right corner of the mouth, as seen in the upright image.
        scores: (N,) float32 in 0…1.
        photo_size: height and width of the photo.
        rotated: degrees by which the photo must be turned clockwise to be upright: 0, 90, 180 or
            270. Boxes and landmarks refer to the photo as it was given.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray
    photo_size: tuple[int, int]
    rotated: int = 0

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """Finds faces and their five landmarks with YuNet, through OpenCV.

    YuNet reliably finds faces of about 20 to 600 pixels. A photo is therefore scaled down to
    `max_size` first. If that does not show a face beyond doubt, the search continues at half the
    size, with a border (for a face that fills the photo), and with the photo turned by right
    angles. It then uses finer scales, up to 16 million pixels in tiles of 1280×1280. A face of 30
    pixels is found in a photo of 4,000. The same photo gives the same faces in every thread and
    process. Landmarks are precise to about 2 % of the face's width.

    A detector can be pickled, and several threads can use it: each thread and each process opens
    its own OpenCV network. OpenCV spreads a single photo over all cores. If several of your threads
    or processes share the cores, `cv2.setNumThreads(1)` is faster.

    Args:
        model: a YuNet file (`face_detection_yunet_2023mar.onnx`). The default is the file that the
            environment variable GFKERAS_YUNET names, then the one in `models/` of the folder that
            GFKERAS_DATA names, then the public one. The public one is downloaded into the cache
            once, and its SHA-256 is checked.
        score_threshold: least score of a face, 0…1.
        nms_threshold: boxes that overlap more than this (intersection over union) are one face.
        max_size: longer side, in pixels, to which a larger photo is scaled for the first search.
        min_face_size: faces whose box is narrower or lower than this many pixels of the photo are
            left out.

    Raises:
        ValueError: for a file that is not a YuNet network, and for arguments out of range.
        DownloadError: if no file is given and the public one cannot be downloaded.

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
        # Workers get the bytes. They need no file, and all of them use the same network.
        self._content, self._name = yunet_bytes(model)
        self._local = threading.local()
        self._network()

    def __getstate__(self) -> dict[str, Any]:
        # OpenCV networks and thread-local storage cannot be pickled.
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def detect(self, photo: Photo, thorough: bool = False) -> Detections:
        """Returns the faces of one photo, the surest first.

        Args:
            photo: anything that `read_photo` accepts: a path, the bytes of a file, a PIL image, or
                an array (H, W, 3), RGB 0…255. The EXIF orientation of a file is applied.
            thorough: also look for smaller faces after one was found. Otherwise the search ends at
                the first scale that shows a face beyond doubt, and faces in the background of a
                group photo can be missing.

        Raises:
            ImageError: for a file that cannot be read.
            ValueError: for an array that is not an RGB photo.
        """
        pixels = read_photo(photo, "image")
        rows, rotated = search_faces(
            pixels, self._find, self.max_size, self.nms_threshold, self.min_face_size, thorough
        )
        boxes, landmarks, scores = rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]
        kept = np.asarray((boxes[:, 2:] >= self.min_face_size).all(axis=1))
        # Sort by score, then by place, so that the order does not depend on the network's output.
        order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
        order = order[kept[order]]
        photo_size = (pixels.shape[0], pixels.shape[1])
        return Detections(boxes[order], landmarks[order], scores[order], photo_size, rotated)

    def _find(self, image: np.ndarray) -> np.ndarray:
        """Returns YuNet's rows (box, landmarks, score), in pixels of the image."""
        network = self._network()
        network.setInputSize((image.shape[1], image.shape[0]))
        # YuNet was trained with OpenCV's channel order, BGR.
        _, found = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return np.zeros((0, 15), np.float32) if found is None else found

    def _network(self) -> Any:
        """Returns the network that belongs to this thread."""
        if not hasattr(self._local, "network"):
            thresholds = (self.score_threshold, self.nms_threshold)
            self._local.network = open_yunet(self._content, self._name, *thresholds)
        return self._local.network
