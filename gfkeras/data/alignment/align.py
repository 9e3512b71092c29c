"""Cutting an aligned face out of a photo."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from gfkeras.data.alignment.similarity import similarity_transform
from gfkeras.data.alignment.template import FaceSize, face_size, face_template

# Beyond the outermost pixel that bilinear sampling reads, so that cutting changes nothing.
_MARGIN = 3


def align_face(image: Any, landmarks: Any, size: FaceSize = 112) -> np.ndarray:
    """The face of a photo, turned, scaled and shifted onto the standard template.

    Sampling is bilinear. A face that shrinks to half or less is averaged over blocks of
    pixels first: bilinear sampling alone would skip pixels and leave jagged edges. What lies
    outside of the photo becomes black.

    Args:
        image: (H, W, 3) uint8 photo.
        landmarks: (5, 2) points (x, y) in pixels of the photo: left eye, right eye, tip of the
            nose, left and right corner of the mouth, as seen in the image.
        size: height and width of the result, or one number for both; (112, 96) gives CosFace's
            format, height first.

    Returns:
        (height, width, 3) uint8, channels in the photo's order.

    Raises:
        ValueError: for another shape or type, landmarks that are not finite or all the same, or
            a face that lies wholly outside of the photo.

    Example:
        face = align_face(read_photo("photo.jpg"), landmarks)
    """
    photo = check_photo(image)
    height, width = face_size(size)
    template = face_template((height, width))
    points = np.asarray(landmarks, np.float64)
    if points.shape != template.shape:
        raise ValueError(
            f"`landmarks` must have shape (5, 2). Received: landmarks of shape {points.shape}"
        )
    matrix = similarity_transform(points, template)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    block = min(max(1, int(1 / scale)), *photo.shape[:2])
    left, top, right, bottom = _needed(matrix, height, width, photo.shape, block)
    if left >= right or top >= bottom:
        raise ValueError(
            f"`landmarks` must lie in the photo of {photo.shape[1]}×{photo.shape[0]} pixels. "
            f"Received: landmarks={points.tolist()}"
        )
    # Also because OpenCV warps nothing with a side of 32,768 pixels or more.
    photo = photo[top:bottom, left:right]
    points = points - [left, top]
    if block > 1:
        photo = _averaged(photo, block)
        points = (points + 0.5) / block - 0.5
    matrix = similarity_transform(points, template)
    return cv2.warpAffine(
        photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def check_photo(image: Any) -> np.ndarray:
    """Returns a photo as an array, or says what is wrong with it.

    Raises:
        ValueError: for anything but a (H, W, 3) uint8 array with at least one pixel.
    """
    photo = np.asarray(image)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(
            "`image` must be an RGB photo, a uint8 array of shape (H, W, 3). "
            f"Received: image of shape {photo.shape} and type {photo.dtype}"
        )
    return photo


def _needed(
    matrix: np.ndarray, height: int, width: int, shape: tuple[int, ...], block: int
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of the photo that the result is made of."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64) - 0.5
    # The inverse of M x + t is M⁻¹(y - t).
    found = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    # Whole blocks from the photo's own corner on: the same blocks whatever the cut.
    low = np.floor((found.min(axis=0) - _MARGIN * block) / block) * block
    high = np.ceil((found.max(axis=0) + _MARGIN * block) / block) * block
    limits = [shape[1], shape[0]]
    left, top = np.clip(low, 0, limits).astype(int)
    right, bottom = np.clip(high, 0, limits).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _averaged(photo: np.ndarray, block: int) -> np.ndarray:
    """The mean of each block of block×block pixels; the last ones repeat the photo's edge."""
    height, width = photo.shape[:2]
    below, beside = -height % block, -width % block
    if below or beside:
        photo = cv2.copyMakeBorder(photo, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    size = (photo.shape[1] // block, photo.shape[0] // block)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
