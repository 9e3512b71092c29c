"""Face alignment: the five-point template and the similarity transform onto it."""

from typing import Any

import cv2
import numpy as np

from gfkeras.data.images import FaceSize, face_size
from gfkeras.errors import wrong, wrong_value

# No photo has this many pixels a side, and the squares of larger numbers could overflow.
_LARGEST = 1e9

# Left eye, right eye, tip of the nose, left and right corner of the mouth. Left and right are
# meant as seen in the image. ArcFace and nearly every later network was trained with these points.
ARCFACE_TEMPLATE = np.array(
    [38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041]
).reshape(5, 2)
ARCFACE_TEMPLATE.flags.writeable = False
_TEMPLATE_SIZE = 112
# Pixels kept around the needed part of a photo. Bilinear sampling reads at most one pixel further
# than the result's edge, so cutting the photo does not change the result.
_MARGIN = 3


def similarity_transform(landmarks: Any, template: Any) -> np.ndarray:
    """Returns the least-squares similarity transform from points to template points.

    The transform rotates, scales and shifts. It does not reflect. In two dimensions Umeyama's
    estimate has a closed form. Subtract the mean from the points p and from the template points q,
    and write them as complex numbers z = p_x + i·p_y and w = q_x + i·q_y. Then

        s·exp(iθ) = Σ conj(z)·w / Σ |z|²

    minimises Σ |s·exp(iθ)·z − w|². The computation uses float64.

    Args:
        landmarks: (..., N, 2) points (x, y) of one or many faces, with N ≥ 2.
        template: (N, 2) target points.

    Returns:
        (..., 2, 3) matrices M. M[:, :2] @ point + M[:, 2] is close to the target point.

    Raises:
        ValueError: for other shapes, for NaN or infinite values, and for landmarks that do not
            determine a transform, such as the same point five times.
    """
    source = np.asarray(landmarks, np.float64)
    target = np.asarray(template, np.float64)
    if target.ndim != 2 or target.shape[0] < 2 or target.shape[1] != 2:
        raise wrong("template", "have shape (N, 2), N ≥ 2", f"template of shape {target.shape}")
    if source.ndim < 2 or source.shape[-2:] != target.shape:
        expected = f"have shape (..., {len(target)}, 2), {len(target)} points (x, y)"
        raise wrong("landmarks", expected, f"landmarks of shape {source.shape}")
    # `not (… < …)` also catches NaN.
    if not (np.abs(source) < _LARGEST).all():
        received = "landmarks with NaN, infinite or very large values"
        raise wrong("landmarks", "be finite numbers of pixels", received)
    source_mean = source.mean(axis=-2)
    target_mean = target.mean(axis=0)
    z, w = source - source_mean[..., None, :], target - target_mean
    spread = np.square(z).sum(axis=(-2, -1))
    # A spread no larger than the rounding error of the coordinates means that all points coincide.
    least = 1e-20 * np.square(source).sum(axis=(-2, -1)) + 1e-12
    real = (z * w).sum(axis=(-2, -1))
    imaginary = (z[..., 0] * w[:, 1] - z[..., 1] * w[:, 0]).sum(axis=-1)
    size = np.hypot(real, imaginary)
    # A product this small next to |z|·|w| means that no rotation fits better than another.
    fixed = (spread > least) & (size > 1e-9 * np.sqrt(spread * np.square(w).sum()))
    if not fixed.all():
        bad = source.reshape(-1, *target.shape)[np.flatnonzero(~fixed.reshape(-1))[0]]
        raise wrong_value("landmarks", "be distinct points laid out like a face", bad.tolist())
    matrix = np.empty((*source.shape[:-2], 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = real / spread
    matrix[..., 1, 0] = imaginary / spread
    matrix[..., 0, 1] = -matrix[..., 1, 0]
    matrix[..., 2] = target_mean - np.einsum("...ij,...j->...i", matrix[..., :2], source_mean)
    return matrix


def face_template(size: FaceSize = _TEMPLATE_SIZE) -> np.ndarray:
    """Returns the five points (x, y) of the standard template, as a (5, 2) float64 array.

    At 112×112 these are ArcFace's points. CosFace and SphereFace use 112×96 (height 112, width 96):
    the same face with eight columns less on either side, so each x is smaller by 8. Any other
    `size` (height and width, or one number for both) scales the points by its height and keeps the
    face in the middle.
    """
    height, width = face_size(size)
    scale = height / _TEMPLATE_SIZE
    # A pixel's centre is at a whole number, so the middle of n pixels is at (n - 1) / 2.
    middle = (_TEMPLATE_SIZE - 1) / 2
    return (ARCFACE_TEMPLATE - middle) * scale + [(width - 1) / 2, (height - 1) / 2]


def align_face(image: Any, landmarks: Any, size: FaceSize = 112) -> np.ndarray:
    """Returns the face of a photo, rotated, scaled and shifted onto the standard template.

    Sampling is bilinear. If the face shrinks to half its size or less, blocks of pixels are
    averaged first, because bilinear sampling alone would skip pixels and leave jagged edges. Pixels
    outside the photo become black.

    Args:
        image: (H, W, 3) uint8 photo.
        landmarks: (5, 2) points (x, y) in pixels of the photo: left eye, right eye, tip of the
            nose, left and right corner of the mouth, as seen in the image.
        size: height and width of the result, or one number for both. CosFace uses (112, 96).

    Returns:
        (height, width, 3) uint8, channels in the photo's order.

    Raises:
        ValueError: for another shape or type, for landmarks that are not finite or are all the
            same, and for a face that is completely outside the photo.

    Example:
        face = align_face(read_photo("photo.jpg"), landmarks)
    """
    photo = check_photo(image)
    height, width = face_size(size)
    template = face_template((height, width))
    points = np.asarray(landmarks, np.float64)
    if points.shape != template.shape:
        raise wrong("landmarks", "have shape (5, 2)", f"landmarks of shape {points.shape}")
    matrix = similarity_transform(points, template)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    block = min(max(1, int(1 / scale)), *photo.shape[:2])
    left, top, right, bottom = _needed(matrix, height, width, photo.shape, block)
    if left >= right or top >= bottom:
        expected = f"be inside the photo of {photo.shape[1]}×{photo.shape[0]} pixels"
        raise wrong_value("landmarks", expected, points.tolist())
    # Cutting saves time, and OpenCV cannot warp an image with a side of 32,768 pixels or more.
    photo = photo[top:bottom, left:right]
    points = points - [left, top]
    if block > 1:
        photo = _averaged(photo, block)
        # Pixel centres are at whole numbers, so block centres are half a pixel off.
        points = (points + 0.5) / block - 0.5
    matrix = similarity_transform(points, template)
    return cv2.warpAffine(
        photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def check_photo(image: Any) -> np.ndarray:
    """Returns a photo as an array. Raises ValueError unless it is (H, W, 3) uint8 and not empty."""
    photo = np.asarray(image)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        received = f"image of shape {photo.shape} and type {photo.dtype}"
        raise wrong("image", "be an RGB photo, a uint8 array of shape (H, W, 3)", received)
    return photo


def _needed(
    matrix: np.ndarray, height: int, width: int, shape: tuple[int, ...], block: int
) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of the part of the photo that the result depends on."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64) - 0.5
    # The inverse of M x + t is M⁻¹(y - t).
    found = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    # Whole blocks, counted from the photo's corner: averaging then gives the same blocks as it
    # would in the uncut photo.
    low = np.floor((found.min(axis=0) - _MARGIN * block) / block) * block
    high = np.ceil((found.max(axis=0) + _MARGIN * block) / block) * block
    limits = [shape[1], shape[0]]
    left, top = np.clip(low, 0, limits).astype(int)
    right, bottom = np.clip(high, 0, limits).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _averaged(photo: np.ndarray, block: int) -> np.ndarray:
    """Returns the mean of each block of block×block pixels.

    The photo's edge is repeated to fill the last blocks.
    """
    height, width = photo.shape[:2]
    below, beside = -height % block, -width % block
    if below or beside:
        photo = cv2.copyMakeBorder(photo, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    size = (photo.shape[1] // block, photo.shape[0] // block)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
