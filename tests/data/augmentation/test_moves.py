"""Flips and shifts compared with simple oracles, for any split of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from gfkeras.data.augmentation import Augmentation, flip_images, shift_images

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 24, 20, 3), np.uint8)


def test_flip_mirrors_the_images_below_one_half():
    u = np.array([0.0, 0.49999, 0.5, 0.99999] * 4)
    flipped = flip_images(IMAGES, u)
    np.testing.assert_array_equal(flipped[u < 0.5], IMAGES[u < 0.5, :, ::-1])
    np.testing.assert_array_equal(flipped[u >= 0.5], IMAGES[u >= 0.5])
    own = IMAGES.copy()
    assert flip_images(own, u, in_place=True) is own
    np.testing.assert_array_equal(own, flipped)


@pytest.mark.parametrize("pixels", [0, 1, 3, 19])
def test_shift_is_a_crop_of_the_image_padded_with_its_border(pixels):
    u = np.random.default_rng(pixels).random((16, 2))
    u[:4] = [(0, 0), (0, 0.99999), (0.99999, 0), (0.99999, 0.99999)]
    padding = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = np.pad(IMAGES, padding, mode="edge")
    corners = np.floor(u * (2 * pixels + 1)).astype(int)
    for image, (top, left), shifted in zip(
        padded, corners, shift_images(IMAGES, pixels, u), strict=True
    ):
        np.testing.assert_array_equal(shifted, image[top : top + 24, left : left + 20])


def test_every_move_is_as_likely_as_any_other():
    rows, columns = np.meshgrid(np.arange(24), np.arange(20), indexing="ij")
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    u = np.random.default_rng(1).random((3000, 2))
    shifted = shift_images(np.broadcast_to(ramp, (3000, 24, 20, 3)), 2, u)
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(shifted[:, 12, 10, :2].T.astype(int) - [[10], [8]]), 1)
    assert counts.sum() == 3000
    # 25 cells of 120 expected each: the 0.9999 quantile of χ² with 24 degrees of freedom.
    assert ((counts - 120) ** 2 / 120).sum() < 59


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_global_batch_gives_the_same_images_on_any_number_of_workers(workers):
    augmentation = Augmentation(flip=True, shift=3)
    uniforms = np.random.default_rng(2).random((16, augmentation.draws))
    whole = augmentation.host(IMAGES, uniforms)
    parts = [
        augmentation.host(images, rows)
        for images, rows in zip(np.split(IMAGES, workers), np.split(uniforms, workers), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole != IMAGES).any()


def test_given_images_are_not_changed_in_any_memory_layout():
    before = IMAGES.copy()
    u = np.random.default_rng(3).random((16, 2))
    for view in (IMAGES, IMAGES[::-1], IMAGES[:, :, ::-1]):
        plain = np.ascontiguousarray(view)
        np.testing.assert_array_equal(flip_images(view, u[:, 0]), flip_images(plain, u[:, 0]))
        np.testing.assert_array_equal(shift_images(view, 2, u), shift_images(plain, 2, u))
    np.testing.assert_array_equal(IMAGES, before)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`pixels` must be in \[0, 20\).*pixels=20"):
        shift_images(IMAGES, 20, np.zeros((16, 2)))
    with pytest.raises(ValueError, match=r"`shift` must be finite.*shift=-1"):
        Augmentation(shift=-1)
    with pytest.raises(ValueError, match=r"3 columns.*\(16, 2\), expected \(16, 3\)"):
        Augmentation(flip=True, shift=1).host(IMAGES, np.zeros((16, 2)))
