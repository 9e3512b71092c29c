"""The valley between two heaps of angles, and no valley in a single heap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gfkeras.experiments.cleaning.sub_centers import automatic_angle, valley


def slow_valley(angles: np.ndarray) -> float:
    """Tries every cut, by the definition."""
    values = sorted(set(angles.tolist()))
    best = (-1.0, 0.0)
    for low, high in itertools.pairwise(values):
        left, right = angles[angles <= low], angles[angles >= high]
        between = len(left) * len(right) * (left.mean() - right.mean()) ** 2
        best = max(best, (between, (low + high) / 2))
    return best[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_that_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    angles = np.r_[rng.normal(45, 9, 200), rng.normal(88, 8, 50)].round(seed % 2)
    cut, separation = valley(np.r_[angles, np.nan])
    assert cut == pytest.approx(slow_valley(angles))
    low, high = angles[angles < cut], angles[angles >= cut]
    expected = 2**0.5 * (high.mean() - low.mean()) / (low.var() + high.var()) ** 0.5
    assert separation == pytest.approx(expected)
    assert automatic_angle(angles)[0] == cut


@pytest.mark.parametrize("seed", range(5))
def test_one_heap_is_not_cut_through(seed):
    angles = np.random.default_rng(seed).normal(45, 9, 500)
    assert valley(angles)[1] < 3
    angle, why = automatic_angle(angles)
    assert angle == 75
    assert "one heap" in why


def test_angles_that_are_all_the_same():
    assert automatic_angle(np.full(4, 30.0))[0] == 75
    assert valley(np.array([10.0, 10.0, 90.0])) == (50.0, float("inf"))
