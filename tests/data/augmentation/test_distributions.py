"""The random numbers of the layers follow the documented distributions, in both code paths."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from scipy import stats

from gfkeras.data.augmentation import Augmentation

SIZE, BATCH = 64, 128
# The keys are fixed, so these tests cannot fail by chance. A wrong distribution gives much less.
LEAST_P = 1e-3
ROWS, COLUMNS = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")


def flat(level: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), level, np.uint8)


# Rows in the first channel, columns in the second: 3 grey levels a pixel.
RAMPS = np.stack([3 * ROWS, 3 * COLUMNS, 0 * ROWS], axis=-1).astype(np.uint8)
STRIPES = np.where(COLUMNS[..., None] % 2, flat(96), flat(160))
COLOURED = flat(0) + np.array([200, 100, 50], np.uint8)


def slopes(pictures: np.ndarray) -> np.ndarray:
    """Returns the size in pixels of one pixel's step: (N, 2, 2), rows and columns by both."""
    levels = pictures[..., :2].astype(float)
    near, far = SIZE // 4, 3 * SIZE // 4
    middle = SIZE // 2
    down = levels[:, far, middle] - levels[:, near, middle]
    right = levels[:, middle, far] - levels[:, middle, near]
    return np.stack([down, right], axis=-1) / (3 * (far - near))


@functools.cache
def built(layer: str) -> Augmentation:
    """Returns a compiled layer, which is compiled once for both paths."""
    return Augmentation(layers=[json.loads(layer)])


@pytest.fixture(params=["eager", "tf.data"])
def draw(request):
    """Varies 512 copies of an image: draw(image, name=…, arguments…)."""

    def eager(augmentation, images, keys):
        return [augmentation.apply_layers(images, key) for key in keys]

    def in_tf_data(augmentation, images, keys):
        tf = pytest.importorskip("tensorflow")
        dataset = tf.data.Dataset.from_tensor_slices(keys)
        dataset = dataset.map(
            lambda key: augmentation.apply_layers(tf.constant(images), key),
            num_parallel_calls=2,
        )
        return list(dataset.as_numpy_iterator())

    def function(image, **layer):
        images = np.repeat(image[None], BATCH, axis=0)
        keys = np.array([(3, step) for step in range(512 // BATCH)])
        run = eager if request.param == "eager" else in_tf_data
        return np.concatenate(run(built(json.dumps(layer)), images, keys))

    return function


def assert_uniform(values, low, high):
    __tracebackhide__ = True
    found = stats.kstest(values, stats.uniform(low, high - low).cdf)
    assert found.pvalue > LEAST_P, f"not uniform in {low}…{high}: {found}"


def assert_rate(changed, probability):
    __tracebackhide__ = True
    found = stats.binomtest(int(changed.sum()), len(changed), probability)
    assert found.pvalue > LEAST_P, f"not {probability}: {found}"


def test_brightness(draw):
    pictures = draw(flat(128), name="color", brightness_factor=0.2)
    assert_uniform((pictures.mean(axis=(1, 2, 3)) - 128) / 255, -0.2, 0.2)


def test_contrast_with_two_numbers(draw):
    pictures = draw(STRIPES, name="color", contrast_factor=[0.3, 0.5])
    assert_uniform(np.ptp(pictures[..., 0].astype(float), axis=(1, 2)) / 64, 0.7, 1.5)


def test_contrast_with_one_number_only_rises(draw):
    pictures = draw(STRIPES, name="color", contrast_factor=0.3)
    assert_uniform(np.ptp(pictures[..., 0].astype(float), axis=(1, 2)) / 64, 1.0, 1.3)


@pytest.mark.parametrize("argument", [{"probability": 0.3}, {"factor": 0.3}])
def test_grayscale(draw, argument):
    pictures = draw(COLOURED, name="grayscale", **argument)
    grey = (pictures[..., 0] == pictures[..., 1]).all(axis=(1, 2))
    assert_rate(grey, 0.3)
    assert (pictures[~grey] == COLOURED).all()


def test_crop(draw):
    pictures = draw(RAMPS, name="crop", scale=[0.4, 0.8], ratio=[0.8, 1.25])
    heights, widths = (slopes(pictures)[:, axis, axis] for axis in (0, 1))
    assert_uniform(heights * widths, 0.4, 0.8)
    assert_uniform(np.log(widths / heights), np.log(0.8), np.log(1.25))
    tops = pictures[:, 0, 0, 0].astype(float) / 3 / SIZE
    lefts = pictures[:, 0, 0, 1].astype(float) / 3 / SIZE
    # Uniform up to the border of the image. The first centre is half a step inside.
    assert_uniform((tops - (heights / 2 - 0.5) / SIZE) / (1 - heights), 0.0, 1.0)
    assert_uniform((lefts - (widths / 2 - 0.5) / SIZE) / (1 - widths), 0.0, 1.0)


def test_low_resolution(draw):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    pictures = draw(image, name="low_resolution", scale=[0.75, 1.0])
    different, counts = np.unique(pictures.reshape(len(pictures), -1), axis=0, return_counts=True)
    # Sides of 48 to 64 pixels, all equally often.
    assert len(different) == 17
    assert stats.chisquare(counts).pvalue > LEAST_P
    assert (different == image.ravel()).all(axis=1).any()


def test_blur(draw):
    pictures = draw(STRIPES, name="blur", probability=0.3)
    assert_rate((pictures != STRIPES).any(axis=(1, 2, 3)), 0.3)


def test_keras_blur_with_one_number_changes_half_of_the_images(draw):
    pictures = draw(STRIPES, name="blur", factor=0.8)
    assert_rate((pictures != STRIPES).any(axis=(1, 2, 3)), 0.4)


def test_cutout(draw):
    pictures = draw(flat(255), name="cutout", scale=[0.1, 0.3], fill_value=0, probability=0.6)
    erased = (pictures == 0).all(axis=-1)
    chosen = erased.any(axis=(1, 2))
    assert_rate(chosen, 0.6)
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, chosen.sum())
    for axis in (1, 2):
        sides = erased[chosen].any(axis=axis).sum(axis=1)
        assert_uniform(((sides + jitter) / SIZE) ** 2, 0.1, 0.3)


def test_zoom(draw):
    pictures = draw(RAMPS, name="zoom", height_factor=0.2, fill_mode="nearest")
    found = slopes(pictures)
    assert_uniform(found[:, 0, 0], 0.8, 1.2)
    np.testing.assert_allclose(found[:, 0, 0], found[:, 1, 1], atol=0.03)


def test_rotation(draw):
    pictures = draw(RAMPS, name="rotation", factor=0.1, fill_mode="nearest")
    found = slopes(pictures)
    angles = np.degrees(np.arctan2(found[:, 0, 1], found[:, 0, 0]))
    assert_uniform(angles, -36, 36)
