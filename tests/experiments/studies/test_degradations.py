"""Degraded faces, checked pixel by pixel."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from gfkeras.data.augmentation.resampling_layers import reduction_matrices
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.experiments.studies import jpeg_compression, small_image


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    images, _ = synthetic_faces(num_identities=1, images_per_identity=1, seed=3)
    return np.asarray(images[0], np.uint8)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_is_what_pillow_writes_and_reads(quality, face):
    stream = io.BytesIO()
    # Its defaults: colour at half resolution.
    Image.fromarray(face).save(stream, "JPEG", quality=quality)
    found = jpeg_compression(quality)(face)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(Image.open(stream).convert("RGB")))


@pytest.mark.parametrize("quality", [10, 90])
def test_jpeg_is_what_opencv_writes_and_reads(quality, face):
    _, content = cv2.imencode(".jpg", face[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    other = cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(jpeg_compression(quality)(face), other)


def test_lower_quality_is_farther_from_the_face(face):
    errors = [
        np.abs(jpeg_compression(quality)(face).astype(int) - face).mean()
        for quality in (10, 30, 90)
    ]
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


@pytest.mark.parametrize("side", [8, 20, 56])
def test_small_images_are_averaged_and_interpolated(side, face):
    # The same filters as matrices in floating point. Pillow rounds after each of four passes.
    matrix = reduction_matrices(112, 8)[side - 8].astype(np.float64)
    expected = (matrix @ face.transpose(2, 0, 1) @ matrix.T).transpose(1, 2, 0)
    found = small_image(side)(face)
    assert found.shape == face.shape
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - expected).mean() <= 0.5


def test_its_own_size_changes_nothing(face):
    np.testing.assert_array_equal(small_image(112)(face), face)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda face: jpeg_compression(101), "`quality` must be from 1 to 100. .*101"),
        (lambda face: jpeg_compression(0), "`quality` must be an integer of at least 1"),
        (lambda face: small_image(0), "`side` must be an integer of at least 1"),
        (lambda face: small_image(113)(face), "`side` must be at most the faces' 112 .*113"),
    ],
)
def test_values_out_of_range_are_refused(make, message, face):
    with pytest.raises(ValueError, match=message):
        make(face)
