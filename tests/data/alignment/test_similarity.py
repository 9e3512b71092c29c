"""Template, similarity transform and warp, against slow float64 oracles."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfkeras.data.alignment import (
    ARCFACE_TEMPLATE,
    align_face,
    face_template,
    similarity_transform,
)


def oracle(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solves the same problem as linear least squares in (a, b, tx, ty)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows, float), np.array(values, float), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


def moved(points: np.ndarray, angle: float, scale: float, shift) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


def test_template_is_arcfaces():
    np.testing.assert_allclose(face_template(112), ARCFACE_TEMPLATE, rtol=0, atol=1e-12)
    narrow = ARCFACE_TEMPLATE - [8, 0]
    np.testing.assert_allclose(face_template((112, 96)), narrow, rtol=0, atol=1e-12)
    assert face_template(112)[2].tolist() == pytest.approx([56.0252, 71.7366])
    # Each pixel of 112 becomes 2×2, so its centre is between them.
    np.testing.assert_allclose(face_template(224), 2 * ARCFACE_TEMPLATE + 0.5, atol=1e-9)
    with pytest.raises(ValueError, match="read-only"):
        ARCFACE_TEMPLATE[0] = 0


@pytest.mark.parametrize("size", [0, (112,), (112, 96, 3), 112.5, "112", (112, -1)])
def test_wrong_size(size):
    with pytest.raises(ValueError, match=r"`size` must be .* Received: size="):
        face_template(size)


@settings(deadline=None, max_examples=80)
@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.01, 100),
    shift=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_a_known_similarity_is_recovered(angle, scale, shift):
    source = moved(ARCFACE_TEMPLATE, angle, scale, shift)
    matrix = similarity_transform(source, ARCFACE_TEMPLATE)
    np.testing.assert_allclose(source @ matrix[:, :2].T + matrix[:, 2], ARCFACE_TEMPLATE, atol=1e-6)
    assert np.hypot(*matrix[:, 0]) * scale == pytest.approx(1, rel=1e-6)


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_the_least_squares_solution(seed):
    rng = np.random.default_rng(seed)
    source = moved(ARCFACE_TEMPLATE, rng.uniform(-3, 3), rng.uniform(0.2, 9), rng.normal(size=2))
    source += rng.normal(scale=4, size=source.shape)
    matrix = similarity_transform(source, ARCFACE_TEMPLATE)
    np.testing.assert_allclose(matrix, oracle(source, ARCFACE_TEMPLATE), rtol=1e-7, atol=1e-7)
    # A rotation and a scale: no reflection, no shear.
    assert np.linalg.det(matrix[:, :2]) > 0
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == -matrix[1, 0]


def test_many_faces_at_once():
    rng = np.random.default_rng(0)
    faces = ARCFACE_TEMPLATE + rng.normal(scale=5, size=(4, 3, 5, 2))
    together = similarity_transform(faces, ARCFACE_TEMPLATE)
    assert together.shape == (4, 3, 2, 3)
    for index in np.ndindex(4, 3):
        alone = similarity_transform(faces[index], ARCFACE_TEMPLATE)
        np.testing.assert_allclose(together[index], alone, rtol=1e-12)
    assert similarity_transform(np.zeros((0, 5, 2)), ARCFACE_TEMPLATE).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.full((5, 2), 7.0), "distinct points"),
        (np.full((5, 2), 7.0) + 1e-9 * ARCFACE_TEMPLATE, "distinct points"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.nan, ARCFACE_TEMPLATE), "finite"),
        (ARCFACE_TEMPLATE * np.inf, "finite"),
        (ARCFACE_TEMPLATE * 1e200, "finite"),
        (ARCFACE_TEMPLATE[:4], r"shape \(\.\.\., 5, 2\).*Received: landmarks of shape \(4, 2\)"),
        (ARCFACE_TEMPLATE.ravel(), r"Received: landmarks of shape \(10,\)"),
    ],
)
def test_landmarks_that_fix_no_transform(landmarks, message):
    with pytest.raises(ValueError, match=message):
        similarity_transform(landmarks, ARCFACE_TEMPLATE)
    image = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises(ValueError, match="`landmarks` must"):
        align_face(image, landmarks)


def test_points_that_fit_every_rotation_equally():
    # Their product with the template vanishes, so every rotation is as good as any other.
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    with pytest.raises(ValueError, match="distinct points laid out like a face"):
        similarity_transform(square[[0, 3, 2, 1]] * 3, square)


def sampled(photo: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns bilinear samples in float64, black outside the photo."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    out = np.zeros((height, width, 3))
    padded = np.pad(photo.astype(float), ((1, 2), (1, 2), (0, 0)))
    for v in range(height):
        for u in range(width):
            x, y = (inverse @ [u, v, 1])[:2]
            left, top = int(np.floor(x)), int(np.floor(y))
            if not (-1 <= left < photo.shape[1] and -1 <= top < photo.shape[0]):
                continue
            fx, fy = x - left, y - top
            cell = padded[top + 1 : top + 3, left + 1 : left + 3]
            rows = cell[0] * (1 - fy) + cell[1] * fy
            out[v, u] = rows[0] * (1 - fx) + rows[1] * fx
    return out


@pytest.mark.parametrize("size", [112, (112, 96), (48, 40)])
def test_the_warp_is_bilinear_sampling(size):
    rng = np.random.default_rng(1)
    photo = cv2.resize(rng.integers(0, 256, (14, 17, 3)).astype(np.uint8), (85, 70))
    template = face_template(size)
    landmarks = moved(template, 0.4, 0.9, (-20, 1)) + rng.normal(size=(5, 2))
    face = align_face(photo, landmarks, size)
    assert face.dtype == np.uint8
    expected = sampled(photo, oracle(landmarks, template), *face.shape[:2])
    # OpenCV rounds positions to 1/32 of a pixel.
    assert np.abs(face - expected).mean() < 0.6
    assert np.abs(face - expected).max() < 12
    assert (face == 0).all(axis=-1).any()


def test_a_face_on_the_template_stays_as_it_is():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (112, 112, 3)).astype(np.uint8)
    assert np.array_equal(align_face(image, ARCFACE_TEMPLATE), image)
    narrow = align_face(image, ARCFACE_TEMPLATE, (112, 96))
    assert np.array_equal(narrow, image[:, 8:104])
    # Only a part of the photo is used. OpenCV could not warp the whole photo.
    wide = np.zeros((112, 40_000, 3), np.uint8)
    wide[:, 39_000:39_112] = image
    assert np.array_equal(align_face(wide, ARCFACE_TEMPLATE + [39_000, 0]), image)


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_a_large_face_is_averaged_not_thinned_out(factor):
    rng = np.random.default_rng(3)
    large = rng.integers(0, 256, (112 * factor + 5, 112 * factor + 1, 3)).astype(np.uint8)
    landmarks = factor * ARCFACE_TEMPLATE + (factor - 1) / 2
    blocks = large[: 112 * factor, : 112 * factor].reshape(112, factor, 112, factor, 3)
    means = blocks.mean(axis=(1, 3))
    assert np.abs(align_face(large, landmarks) - means).max() <= 1
    further = np.pad(large, ((9 * factor, 0), (5 * factor, 0), (0, 0)))
    again = align_face(further, landmarks + [5 * factor, 9 * factor])
    assert np.array_equal(again, align_face(large, landmarks))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
        np.zeros((0, 9, 3), np.uint8),
        None,
    ],
)
def test_wrong_images(image):
    with pytest.raises(ValueError, match=re.escape("uint8 array of shape (H, W, 3)")):
        align_face(image, ARCFACE_TEMPLATE)


def test_a_face_outside_of_the_photo():
    image = np.full((50, 50, 3), 9, np.uint8)
    with pytest.raises(ValueError, match="must be inside the photo of 50×50"):
        align_face(image, ARCFACE_TEMPLATE + 900)
    # The photo is a small part of a giant face, which must not cost memory.
    assert align_face(image, ARCFACE_TEMPLATE * 1e6 - 5e7).shape == (112, 112, 3)
