"""OpenCV's YuNet network: its file, and opening it quietly."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gfkeras.downloads import DownloadError, fetch_file
from gfkeras.files import read_small

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
YUNET_URL = f"{_ZOO}/face_detection_yunet/{YUNET_NAME}"
YUNET_VARIABLE = "GFKERAS_YUNET"
# Where data sets and models lie; also of the tests.
DATA_VARIABLE = "GFKERAS_DATA"
# What the zoo calls it.
YUNET_PRESET = "face_detection_yunet"
# The log level is the whole process's: of two threads, one could keep the other's silence for good.
_log_level = threading.Lock()


def yunet_bytes(model: str | os.PathLike[str] | None = None) -> tuple[bytes, str]:
    """The network's file and its name for messages; ValueError if it cannot be read.

    Without `model` it is the file that the environment variable GFKERAS_YUNET names, else the one
    in `models/` of the folder that GFKERAS_DATA names, else the public one, which is downloaded
    once and checked by its SHA-256 (DownloadError if it cannot be).
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
            f"{error.reason}. Photos need this face detector: run `gfkeras zoo download "
            f"{YUNET_PRESET} --out DIR` where there is a network, then set "
            f"{YUNET_VARIABLE}=DIR/{YUNET_NAME}",
        ) from error


def open_yunet(content: bytes, name: str, score_threshold: float, nms_threshold: float) -> Any:
    """An OpenCV detector from the bytes of a YuNet file; ValueError for anything else."""
    try:
        with _quiet():
            model, no_config = np.frombuffer(content, np.uint8), np.zeros(0, np.uint8)
            thresholds = (score_threshold, nms_threshold)
            detector = cv2.FaceDetectorYN.create(
                "onnx", model, no_config, (32, 32), *thresholds, 5000
            )
            # Another network opens as well, and fails with the first image only.
            detector.detect(np.zeros((32, 32, 3), np.uint8))
    except cv2.error as error:
        reason = str(error).strip().rsplit("error: ", 1)[-1].partition("\n")[0]
        raise ValueError(
            f"`model` must be the ONNX file of a YuNet face detector, such as {YUNET_NAME}. "
            f"Received: {name!r}, {len(content):,} bytes ({reason})"
        ) from error
    return detector


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV's log off stderr: it warns of a setting that FaceDetectorYN itself makes."""
    with _log_level:
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(before)
