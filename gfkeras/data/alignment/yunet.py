"""OpenCV's YuNet network: finding its file and opening it."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gfkeras.downloads import DownloadError, fetch_file
from gfkeras.errors import wrong
from gfkeras.files import read_small

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


def yunet_bytes(model: str | os.PathLike[str] | None = None) -> tuple[bytes, str]:
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
