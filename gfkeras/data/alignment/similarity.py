"""The similarity transform that carries five landmarks onto the template."""

from __future__ import annotations

from typing import Any

import numpy as np

_LARGEST = 1e9


def similarity_transform(landmarks: Any, template: Any) -> np.ndarray:
    """The least-squares similarity (rotation, scale, shift; no reflection) of points to points.

    Umeyama's estimate, which in two dimensions has a closed form. With points p and template
    points q, both less their means, and the complex numbers z = p_x + i·p_y, w = q_x + i·q_y:

        s·exp(iθ) = Σ conj(z)·w / Σ |z|²

    minimises Σ |s·exp(iθ)·z − w|². All is done in float64.

    Args:
        landmarks: (..., N, 2) points (x, y) of one face, or of many at once; N ≥ 2.
        template: (N, 2) where they should come to lie.

    Returns:
        (..., 2, 3) matrices M: M[:, :2] @ point + M[:, 2] lies close to its template point.

    Raises:
        ValueError: for other shapes, NaN or infinite values, and landmarks that do not fix a
            transform, such as five times the same point.
    """
    source = np.asarray(landmarks, np.float64)
    target = np.asarray(template, np.float64)
    if target.ndim != 2 or target.shape[0] < 2 or target.shape[1] != 2:
        raise ValueError(
            f"`template` must have shape (N, 2), N ≥ 2. Received: template of shape {target.shape}"
        )
    if source.ndim < 2 or source.shape[-2:] != target.shape:
        count = len(target)
        raise ValueError(
            f"`landmarks` must have shape (..., {count}, 2), {count} points (x, y). "
            f"Received: landmarks of shape {source.shape}"
        )
    # Larger numbers are no pixels, and their squares would overflow.
    if not (np.abs(source) < _LARGEST).all():
        raise ValueError(
            "`landmarks` must be finite numbers of pixels. "
            "Received: landmarks with NaN, infinite or enormous values"
        )
    source_mean = source.mean(axis=-2)
    target_mean = target.mean(axis=0)
    z = source - source_mean[..., None, :]
    w = target - target_mean
    spread = np.square(z).sum(axis=(-2, -1))
    # Of rounding's size next to the coordinates themselves, it is no spread at all.
    least = 1e-20 * np.square(source).sum(axis=(-2, -1)) + 1e-12
    real = (z * w).sum(axis=(-2, -1))
    imaginary = (z[..., 0] * w[:, 1] - z[..., 1] * w[:, 0]).sum(axis=-1)
    size = np.hypot(real, imaginary)
    # A product this small next to |z|·|w| means that no rotation fits better than another.
    fixed = (spread > least) & (size > 1e-9 * np.sqrt(spread * np.square(w).sum()))
    if not fixed.all():
        bad = source.reshape(-1, *target.shape)[np.flatnonzero(~fixed.reshape(-1))[0]]
        raise ValueError(
            "`landmarks` must be distinct points laid out like a face. "
            f"Received: landmarks={bad.tolist()}"
        )
    matrix = np.empty((*source.shape[:-2], 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = real / spread
    matrix[..., 1, 0] = imaginary / spread
    matrix[..., 0, 1] = -matrix[..., 1, 0]
    turned = np.einsum("...ij,...j->...i", matrix[..., :2], source_mean)
    matrix[..., 2] = target_mean - turned
    return matrix
