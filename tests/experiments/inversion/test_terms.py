"""The terms of the loss, compared with slow float64 oracles."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from gfkeras.experiments.inversion.batch_statistics import (
    channel_statistics,
    squared_norm,
    statistics_distance,
    total_variation,
)
from gfkeras.experiments.inversion.objective import draw_view, seen_through, view_matrix


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (3, 5, 7, 3)).astype(np.float32)


def test_total_variation_and_norm(images):
    variation = norm = 0.0
    for image in images.astype(np.float64):
        for y in range(5):
            for x in range(7):
                norm += (image[y, x] ** 2).sum()
                if y:
                    variation += ((image[y, x] - image[y - 1, x]) ** 2).sum()
                if x:
                    variation += ((image[y, x] - image[y, x - 1]) ** 2).sum()
    assert float(total_variation(images)) == pytest.approx(variation / 3, rel=1e-5)
    assert float(squared_norm(images)) == pytest.approx(norm / 3, rel=1e-5)
    assert float(total_variation(np.full((2, 4, 4, 3), 0.7, np.float32))) == 0


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (9, 3)])
def test_statistics_distance(shape):
    rng = np.random.default_rng(1)
    # Far from zero, where E[x²] − E[x]² would lose the variance's digits.
    inputs = (100 + rng.standard_normal(shape)).astype(np.float32)
    mean, deviation = rng.normal(100, 1, 3), rng.uniform(0.5, 2, 3)
    rows = inputs.astype(np.float64).reshape(-1, 3)
    expected = ((rows.mean(0) - mean) ** 2).sum() + ((rows.std(0) - deviation) ** 2).sum()
    found = statistics_distance(inputs, mean.astype(np.float32), deviation.astype(np.float32))
    assert float(found) == pytest.approx(expected, rel=1e-4)
    found_mean, found_deviation = map(ops.convert_to_numpy, channel_statistics(inputs))
    np.testing.assert_allclose(found_mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found_deviation, rows.std(0), rtol=1e-4)


def test_a_view_moves_mirrors_and_enlarges():
    image = np.random.default_rng(2).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    plain = view_matrix(8, 8)
    np.testing.assert_array_equal(plain, np.eye(8))
    down = seen_through(image, view_matrix(8, 8, shift=2), plain)
    np.testing.assert_allclose(ops.convert_to_numpy(down)[:, 2:], image[:, :6], atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(down)[:, 0], image[:, 0], atol=1e-6)
    aside = seen_through(image, plain, view_matrix(8, 8, mirrored=True))
    np.testing.assert_allclose(ops.convert_to_numpy(aside), image[:, :, ::-1], atol=1e-6)
    # An enlarged ramp is still a ramp, and half a pixel is halfway between two values.
    ramp = np.arange(4.0)
    np.testing.assert_allclose((view_matrix(8, 4) @ ramp)[1:-1], np.linspace(0.25, 2.75, 6))
    np.testing.assert_allclose((view_matrix(4, 4, shift=0.5) @ ramp), [0, 0.5, 1.5, 2.5])


def test_every_view_keeps_brightness_and_settings_do_not_change_the_draws():
    moved, still = (np.random.default_rng(3) for _ in range(2))
    matrices = [draw_view(moved, 16, 8, 3.0, True) for _ in range(20)]
    for _ in range(20):
        for matrix in draw_view(still, 16, 8, 0.0, False):
            np.testing.assert_array_equal(matrix, view_matrix(16, 8))
    np.testing.assert_allclose(np.array(matrices).sum(axis=-1), 1, rtol=1e-6)
    mirrored = [columns[0].argmax() > columns[-1].argmax() for _, columns in matrices]
    assert 0 < sum(mirrored) < 20
    assert moved.random() == still.random()
