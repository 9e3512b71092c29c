from __future__ import annotations

from pathlib import Path

import pytest

from gfkeras.data.alignment import FaceDetector


@pytest.fixture(scope="session")
def yunet(shared_data) -> Path:
    return shared_data / "models" / "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="session")
def detector(yunet) -> FaceDetector:
    return FaceDetector(yunet)


@pytest.fixture(scope="session")
def photos(shared_data) -> list[Path]:
    """Raw photos of LFW, 250×250, in a fixed order."""
    return sorted((shared_data / "lfw_raw250").glob("*/*.jpg"))
