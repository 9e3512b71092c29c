import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfkeras.evaluation.metrics import (
    area_under_curve,
    effective_groups,
    equal_error_rate,
    far_name,
    kfold_accuracy,
    roc,
    tar_at_far,
)

# A hand-computed case: impostors at .6 and .1, genuine pairs at .9 and .4.
SCORES = [0.9, 0.4, 0.6, 0.1]
SAME = [True, True, False, False]


def rates(scores, same, threshold):
    """FAR and TAR by counting, pair after pair."""
    accepted = [s >= threshold for s in scores]
    genuine = [a for a, g in zip(accepted, same, strict=True) if g]
    impostor = [a for a, g in zip(accepted, same, strict=True) if not g]
    return sum(impostor) / len(impostor), sum(genuine) / len(genuine)


@st.composite
def scored_pairs(draw):
    """Scores on a coarse grid, so that many tie, with both kinds present."""
    count = draw(st.integers(2, 40))
    levels = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(0, levels), min_size=count, max_size=count))
    same = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    same[0], same[1] = True, False
    return np.array(scores) / 8 - 0.5, np.array(same)


def test_float32_scores_make_the_curve_of_the_same_float64_scores():
    rng = np.random.default_rng(0)
    scores = np.round(rng.standard_normal(500), 2).astype(np.float32)
    same = rng.random(500) < 0.3
    narrow, wide = roc(scores, same), roc(scores.astype(np.float64), same)
    for column in ("far", "tar", "thresholds"):
        np.testing.assert_array_equal(getattr(narrow, column), getattr(wide, column))
        assert getattr(narrow, column).dtype == np.float64
    assert (
        (narrow.genuine, narrow.impostor)
        == (wide.genuine, wide.impostor)
        == (same.sum(), 500 - same.sum())
    )


def test_roc_by_hand():
    curve = roc(SCORES, SAME)
    np.testing.assert_array_equal(curve.far, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_array_equal(curve.tar, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(curve.thresholds[1:], [0.9, 0.6, 0.4, 0.1])
    assert curve.thresholds[0] > 0.9
    assert np.isfinite(curve.thresholds).all()
    assert (curve.genuine, curve.impostor) == (2, 2)


def test_metrics_by_hand():
    # Three of the four genuine-impostor comparisons are right.
    assert area_under_curve(SCORES, SAME) == 0.75
    assert equal_error_rate(SCORES, SAME) == 0.5
    assert tar_at_far(SCORES, SAME, fars=(1, 0.5, 0.1)) == {"1e0": 1.0, "5e-1": 1.0, "1e-1": None}


def test_equal_error_is_interpolated_between_two_points():
    # Points (0, 0), (0, 1/2), (1, 1): on the last line FAR = 1 - TAR where FAR is 1/3.
    scores, same = [0.9, 0.5, 0.5], [True, True, False]
    assert equal_error_rate(scores, same) == pytest.approx(1 / 3)


def test_a_far_that_is_a_whole_number_of_impostors_counts_them():
    # 3 of 3000 is 1e-3 exactly: the third impostor is still allowed, the fourth is not.
    impostor = np.linspace(0, 1, 3000)
    top = np.sort(impostor)[::-1]
    genuine = [top[2] + 1e-9, (top[3] + top[2]) / 2, (top[4] + top[3]) / 2]
    scores = np.concatenate([impostor, genuine])
    same = np.arange(len(scores)) >= 3000
    assert tar_at_far(scores, same, fars=(1e-3,)) == {"1e-3": pytest.approx(2 / 3)}
    assert tar_at_far(scores, same, fars=(1e-3, 1e-4))["1e-4"] is None


@settings(max_examples=100, deadline=None)
@given(scored_pairs())
def test_curve_and_metrics_against_counting(pairs):
    scores, same = pairs
    curve = roc(scores, same)
    for far, tar, threshold in zip(curve.far, curve.tar, curve.thresholds, strict=True):
        assert rates(scores, same, threshold) == (far, tar)
    assert len(curve.far) == len(set(scores)) + 1

    comparisons = [
        (g > i) + 0.5 * (g == i) for g, i in itertools.product(scores[same], scores[~same])
    ]
    assert area_under_curve(scores, same) == pytest.approx(np.mean(comparisons))

    points = [rates(scores, same, t) for t in [*scores, scores.max() + 1]]
    for far in (0.5, 0.1, 0.05):
        tar = tar_at_far(scores, same, (far,))[far_name(far)]
        if far < 1 / (~same).sum():
            assert tar is None
        else:
            assert tar == max(t for f, t in points if f <= far)

    # Find the crossing by bisection on the curve of straight lines.
    low, high = 0.0, 1.0
    position = np.arange(len(curve.far))
    scale = len(position) - 1
    for _ in range(60):
        middle = (low + high) / 2
        far = np.interp(middle * scale, position, curve.far)
        tar = np.interp(middle * scale, position, curve.tar)
        low, high = (middle, high) if far < 1 - tar else (low, middle)
    assert equal_error_rate(scores, same) == pytest.approx(
        np.interp(high * scale, position, curve.far), abs=1e-9
    )


def slow_kfold(scores, same, folds, balanced):
    """Tries every cut by counting, with the ties that kfold_accuracy documents."""
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        train = [(s, g) for s, g, f in zip(scores, same, folds, strict=True) if f != fold]
        test = [(s, g) for s, g, f in zip(scores, same, folds, strict=True) if f == fold]

        def merit(pairs, threshold):
            right = [((s >= threshold) == g, g) for s, g in pairs]
            kinds = [[r for r, g in right if g], [r for r, g in right if not g]]
            if balanced and all(kinds):
                return math.fsum(sum(k) / len(k) for k in kinds) / 2
            return sum(r for r, _ in right) / len(right)

        levels = sorted({s for s, _ in train})
        # (merit, inner before outer, wide before narrow, low before high)
        cuts = [
            (round(merit(train, (a + b) / 2), 12), 1, b - a, -a, (a + b) / 2)
            for a, b in itertools.pairwise(levels)
        ]
        cuts.append((round(merit(train, levels[0]), 12), 0, 1.0, 0.0, levels[0]))
        above = np.nextafter(levels[-1], np.inf)
        cuts.append((round(merit(train, above), 12), 0, 0.0, 0.0, above))
        best = max(cuts)
        thresholds.append(best[-1])
        accuracies.append(merit(test, best[-1]))
    return accuracies, thresholds


@settings(max_examples=100, deadline=None)
@given(scored_pairs(), st.integers(2, 5), st.booleans())
def test_kfold_against_counting(pairs, count, balanced):
    scores, same = pairs
    folds = np.arange(len(scores)) % count
    got = kfold_accuracy(scores, same, folds, balanced=balanced)
    accuracies, thresholds = slow_kfold(scores, same, folds, balanced)
    np.testing.assert_allclose(got.thresholds, thresholds, rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.accuracies, accuracies, atol=1e-12)
    assert got.mean == pytest.approx(np.mean(accuracies))
    assert got.std == pytest.approx(np.std(accuracies))


def test_kfold_takes_the_threshold_from_the_other_folds():
    # Fold 0 separates at 0.5 and fold 1 at 5. Each fold uses the threshold of the other.
    scores = np.array([0.4, 0.6, 4.0, 6.0])
    same = np.array([False, True, False, True])
    got = kfold_accuracy(scores, same, [0, 0, 1, 1])
    np.testing.assert_array_equal(got.thresholds, [5.0, 0.5])
    np.testing.assert_array_equal(got.accuracies, [0.5, 0.5])


def test_kfold_takes_the_middle_of_the_widest_of_equal_gaps():
    # In fold 1 the cuts at 2.5 (gap 1) and at 6 (gap 4) are both right 3 times of 4.
    scores = np.array([2.0, 3.0, 4.0, 8.0, 0.0])
    same = np.array([False, True, False, True, False])
    got = kfold_accuracy(scores, same, [1, 1, 1, 1, 0])
    assert got.thresholds[0] == 6.0


def test_kfold_between_neighbouring_floats():
    low = 0.1
    high = np.nextafter(low, 1)
    got = kfold_accuracy([low, high, low, high], [False, True, False, True], [0, 0, 1, 1])
    assert got.mean == 1.0


def test_balanced_accuracy_is_not_moved_by_many_impostors():
    rng = np.random.default_rng(0)
    same = np.arange(2000) % 100 == 0
    scores = rng.normal(size=2000) + same
    folds = np.arange(2000) // 200
    plain = kfold_accuracy(scores, same, folds)
    balanced = kfold_accuracy(scores, same, folds, balanced=True)
    assert plain.mean == pytest.approx(0.99, abs=0.003)  # nearly everyone is refused
    assert 0.6 < balanced.mean < 0.8


def test_order_of_the_pairs_does_not_matter():
    rng = np.random.default_rng(1)
    scores, same = rng.integers(0, 20, 300) / 20, rng.random(300) < 0.4
    folds = np.arange(300) % 10
    order = rng.permutation(300)
    a = kfold_accuracy(scores, same, folds)
    b = kfold_accuracy(scores[order], same[order], folds[order])
    np.testing.assert_array_equal(a.accuracies, b.accuracies)
    np.testing.assert_array_equal(roc(scores, same).tar, roc(scores[order], same[order]).tar)


def test_all_scores_equal_is_chance():
    same = np.arange(20) % 2 == 0
    scores = np.full(20, 0.3)
    assert area_under_curve(scores, same) == 0.5
    assert equal_error_rate(scores, same) == 0.5
    assert tar_at_far(scores, same, (1, 0.1)) == {"1e0": 1.0, "1e-1": 0.0}
    assert kfold_accuracy(scores, same, np.arange(20) // 2).mean == 0.5


def test_perfect_and_upside_down():
    same = np.arange(20) >= 10
    scores = np.arange(20.0)
    assert area_under_curve(scores, same) == 1.0
    assert equal_error_rate(scores, same) == 0.0
    assert area_under_curve(-scores, same) == 0.0
    assert equal_error_rate(-scores, same) == 1.0


def test_standard_error_is_lfws():
    got = kfold_accuracy([0.4, 0.6, 4.0, 6.0, 0.4, 0.6], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2])
    spread = math.sqrt(sum((a - got.mean) ** 2 for a in got.accuracies) / 2)
    assert got.standard_error == pytest.approx(spread / math.sqrt(3))


@pytest.mark.parametrize("measure", [roc, area_under_curve, equal_error_rate, tar_at_far])
@pytest.mark.parametrize(
    ("scores", "same", "words"),
    [
        ([], [], "at least one genuine"),
        ([0.5], [True], "1 genuine, 0 impostor"),
        ([0.5, 0.6], [True, True], "2 genuine, 0 impostor"),
        ([0.5, 0.6], [False, False], "0 genuine, 2 impostor"),
        ([0.5, math.nan], [True, False], r"scores\[1\]=nan"),
        ([math.inf, 0.5], [True, False], r"scores\[0\]=inf"),
        ([0.5, 0.6, 0.7], [True, False], r"shape \(3,\), same of shape \(2,\)"),
        ([[0.5, 0.6]], [[True, False]], "one-dimensional"),
        ([0.5, 0.6], [2, 0], "true and false"),
        ([0.5, 0.6], ["yes", "no"], "true and false"),
        (["a", "b"], [True, False], "real numbers"),
    ],
)
def test_invalid_scores_are_refused(measure, scores, same, words):
    with pytest.raises(ValueError, match=words):
        measure(scores, same)


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ([0, 0, 0, 0], "at least two folds.*fold 0 only"),
        ([0, 1], r"4 integers.*shape \(2,\)"),
        ([0.0, 1.0, 0.0, 1.0], "4 integers.*float64"),
    ],
)
def test_folds_that_do_not_fit_are_refused(folds, words):
    with pytest.raises(ValueError, match=words):
        kfold_accuracy(SCORES, SAME, folds)


@pytest.mark.parametrize("far", [0, -0.1, 1.5, math.nan])
def test_far_outside_its_range_is_refused(far):
    with pytest.raises(ValueError, match="fars"):
        tar_at_far(SCORES, SAME, fars=(far,))


@pytest.mark.parametrize(
    ("far", "name"),
    [(1e-3, "1e-3"), (0.1, "1e-1"), (1.0, "1e0"), (0.015, "1.5e-2"), (1e-10, "1e-10")],
)
def test_names_of_fars(far, name):
    assert far_name(far) == name


def test_effective_groups():
    assert effective_groups([5, 5, 5, 5]) == pytest.approx(4)
    assert effective_groups([0, 9, 0]) == pytest.approx(1)
    assert effective_groups([0.5, 0.25, 0.25]) == pytest.approx(2**1.5)
    for counts, words in (([0, 0], "not all be 0"), ([], "one row"), ([1, -1], "at least 0")):
        with pytest.raises(ValueError, match=words):
            effective_groups(counts)


def test_a_million_pairs_take_seconds():
    rng = np.random.default_rng(0)
    same = rng.random(1_000_000) < 0.5
    scores = rng.normal(size=len(same)) + 4 * same
    folds = np.arange(len(same)) % 10
    start = time.perf_counter()
    accuracy = kfold_accuracy(scores, same, folds)
    rate = equal_error_rate(scores, same)
    assert time.perf_counter() - start < 20  # two seconds on an idle machine
    # Two unit normals 4 apart: the error at the middle is Φ(−2).
    expected = math.erfc(2 / math.sqrt(2)) / 2
    assert rate == pytest.approx(expected, abs=1e-3)
    assert accuracy.mean == pytest.approx(1 - expected, abs=1e-3)
