"""Dominant centers and angles, compared with slow oracles written from the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gfkeras.experiments.cleaning import (
    dominant_centers,
    flip_labels,
    operating_curve,
    own_cosines,
)
from gfkeras.experiments.cleaning.sub_centers import nearest_others


def angle_between(a, b) -> float:
    a, b = [float(x) for x in a], [float(x) for x in b]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return math.degrees(math.acos(dot / math.hypot(*a) / math.hypot(*b)))


@pytest.fixture
def drawn():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 9, 300)
    labels[labels == 4] = 5  # an identity without images
    centers = rng.standard_normal((9, 3, 8)) * rng.uniform(0.01, 5, (9, 3, 1))
    return rng.standard_normal((300, 8)).astype(np.float32), labels, centers


def test_dominant_centers_and_angles_are_those_of_the_definition(drawn):
    embeddings, labels, centers = drawn
    found = dominant_centers(own_cosines(embeddings, labels, centers), labels, 9)
    for label in range(9):
        rows = np.flatnonzero(labels == label)
        angles = [[angle_between(embeddings[row], c) for c in centers[label]] for row in rows]
        votes = [min(range(3), key=list(row).__getitem__) for row in angles]
        counts = [votes.count(k) for k in range(3)]
        assert found.counts[label].tolist() == counts
        if not len(rows):
            assert found.dominant[label] == 0
            assert math.isnan(found.share[label])
            continue
        assert counts[found.dominant[label]] == max(counts)
        assert found.share[label] == pytest.approx(max(counts) / len(rows))
        expected = [row[found.dominant[label]] for row in angles]
        np.testing.assert_allclose(found.angles[rows], expected, atol=1e-4)


def test_a_tie_of_centers_goes_to_the_nearer_one():
    cosines = np.array([[0.9, 0.1, 0.0], [0.2, 0.95, 0.0], [0.3, 0.5, 0.0], [0.6, 0.5, 0.0]])
    found = dominant_centers(cosines, np.zeros(4, int), 1)
    # Each center has two images, and the sums of cosines are 2.0 and 2.05.
    assert found.counts.tolist() == [[2, 2, 0]]
    assert found.dominant.tolist() == [1]
    # A center without images does not win by being near to all.
    cosines = np.array([[0.9, 0.8, -1.0], [-1.0, 0.8, 0.9], [0.9, 0.8, -1.0]])
    assert dominant_centers(cosines, np.zeros(3, int), 1).dominant.tolist() == [0]


def test_an_image_that_cannot_be_read_has_no_vote_and_no_angle():
    cosines = np.array([[0.9, 0.1], [np.nan, np.nan], [0.1, 0.8], [0.2, 0.8]])
    found = dominant_centers(cosines, np.zeros(4, int), 1)
    assert found.counts.tolist() == [[1, 2]]
    assert found.share.tolist() == [pytest.approx(2 / 3)]
    assert np.isnan(found.angles).tolist() == [False, True, False, False]


def test_nearest_others_leave_out_the_own_identity(drawn):
    embeddings, labels, centers = drawn
    found, angles = nearest_others(embeddings, labels, centers[:, 0])
    for row in range(0, 300, 17):
        others = {
            label: angle_between(embeddings[row], centers[label, 0])
            for label in range(9)
            if label != labels[row]
        }
        best = min(others, key=others.__getitem__)
        assert found[row] == best
        assert angles[row] == pytest.approx(others[best], abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_flipped_labels_are_so_many_wrong_and_repeatable(share):
    labels = np.repeat([3, 5, 9, 11], 25)
    noisy, flipped = flip_labels(labels, share, seed=1)
    assert flipped.sum() == 100 * share
    assert ((noisy != labels) == flipped).all()
    assert set(noisy) <= {3, 5, 9, 11}
    again = flip_labels(labels, share, seed=1)
    np.testing.assert_array_equal(noisy, again[0])
    if share:
        assert (flip_labels(labels, share, seed=2)[0] != noisy).any()


def test_flips_go_to_all_other_identities_alike():
    labels = np.zeros(6000, int)
    labels[3000:] = np.repeat([1, 2, 3], 1000)
    noisy, flipped = flip_labels(labels, 0.99, seed=0)
    counts = np.bincount(noisy[(labels == 0) & flipped], minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 900


def test_impossible_flips_are_refused():
    with pytest.raises(ValueError, match=r"`share` must be in \[0, 1\)"):
        flip_labels(np.array([0, 1]), 1.0, 0)
    with pytest.raises(ValueError, match="at least two identities"):
        flip_labels(np.array([2, 2]), 0.5, 0)


def test_the_operating_curve_counts_both_kinds():
    angles = np.array([10.0, 80.0, 75.0, 20.0, 90.0])
    flipped = np.array([False, False, True, True, True])
    (at_75, at_85) = operating_curve(angles, flipped, [75, 85])
    assert (at_75.found, at_75.lost) == (pytest.approx(2 / 3), 0.5)
    assert (at_85.found, at_85.lost) == (pytest.approx(1 / 3), 0.0)
