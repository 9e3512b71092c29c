"""Intervals, compared with explicit resampling and with the width that theory predicts."""

import numpy as np
import pytest

from gfkeras.evaluation import evaluate_pair_scores, roc
from gfkeras.evaluation.intervals import (
    Highest,
    accuracy_interval,
    curve_intervals,
    draw_intervals,
    drawn_subjects,
    interval_text,
    percentile_interval,
    subject_intervals,
)


def made(count=2000, seed=0):
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    return rng.normal(size=count) + 1.5 * same, same


def test_accuracy_has_the_width_of_a_binomial():
    right = np.arange(4000) % 10 != 0
    low, high = accuracy_interval(right, np.arange(4000) % 4, replicates=4000)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 4000)
    assert low == pytest.approx(0.9 - half, abs=0.001)
    assert high == pytest.approx(0.9 + half, abs=0.001)


def test_curves_are_those_of_scores_drawn_again():
    scores, same = made(400)
    found = curve_intervals(roc(scores, same), (0.1, 0.01), replicates=1500)
    rng = np.random.default_rng(1)
    again = []
    for _ in range(1500):
        rows = [rng.choice(np.flatnonzero(same == kind), 200) for kind in (True, False)]
        drawn = roc(scores[np.concatenate(rows)], np.repeat([True, False], 200))
        last = int(np.searchsorted(drawn.far, 0.1, side="right")) - 1
        again.append((drawn.auc, drawn.eer, drawn.tar[last]))
    for column, interval in enumerate((found["auc"], found["eer"], found["tar_at_far"]["1e-1"])):
        expected = percentile_interval([row[column] for row in again])
        np.testing.assert_allclose(interval, expected, atol=0.15 * np.ptp(expected))


def test_a_far_that_cannot_be_measured_has_no_interval():
    scores, same = made(100)
    found = curve_intervals(roc(scores, same), (0.1, 0.01), replicates=10)
    assert found["tar_at_far"]["1e-2"] is None


def test_the_interval_holds_the_true_value_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        scores, same = made(600, seed)
        low, high = curve_intervals(roc(scores, same), (), replicates=100)["auc"]
        # The true AUC: the probability that N(1.5, 1) exceeds N(0, 1).
        hits += low <= 0.8556 <= high
    assert 50 <= hits <= 60


def test_results_carry_their_intervals():
    scores, same = made()
    result = evaluate_pair_scores(scores, same, replicates=100)
    data = result.to_json()["intervals"]
    low, high = data["accuracy"]
    assert low <= result.accuracy <= high
    assert high - low < 0.05
    for name, value in (("auc", result.auc), ("eer", result.eer)):
        assert data[name][0] <= value <= data[name][1]
    assert data["tar_at_far"]["1e-6"] is None
    assert "95%" in dict(result.summary())["EER"]
    assert evaluate_pair_scores(scores, same).intervals is None


def test_subjects_weigh_as_their_pairs_drawn_again():
    """Compares with explicitly repeated pairs of the same draws."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 12, (2, 600))
    same = first == second
    scores = np.round(rng.normal(size=600) + 1.2 * same, 1)
    found = subject_intervals(scores, same, first * 10, second * 10, (0.1, 0.02), replicates=40)
    again = {0.1: [], 0.02: []}
    draws = np.random.default_rng(0)
    for _ in range(40):
        drawn = np.bincount(draws.integers(12, size=12), minlength=12)
        times = np.where(same, drawn[first], drawn[first] * drawn[second])
        mine, kinds = np.repeat(scores, times), np.repeat(same, times)
        impostor, genuine = mine[~kinds], mine[kinds]
        for far, values in again.items():
            tars = [(genuine >= t).mean() for t in np.unique(mine) if (impostor >= t).mean() <= far]
            values.append(max(tars, default=0.0))
    for far, values in again.items():
        name = {0.1: "1e-1", 0.02: "2e-2"}[far]
        np.testing.assert_allclose(found[name], percentile_interval(values), atol=1e-12)


def test_subjects_that_share_pairs_widen_the_interval():
    rng = np.random.default_rng(0)
    # Ten subjects, each easy or hard to recognise, so the pairs of a subject are not independent.
    ease = rng.normal(size=10)
    first, second = rng.integers(0, 10, (2, 4000))
    same = first == second
    scores = rng.normal(size=4000) * 0.3 + 1.5 * same + (ease[first] + ease[second]) / 2
    by_subject = subject_intervals(scores, same, first, second, (0.1,), replicates=200)["1e-1"]
    by_pair = curve_intervals(roc(scores, same), (0.1,), replicates=200)["tar_at_far"]["1e-1"]
    assert np.ptp(by_subject) > 2 * np.ptp(by_pair)


def test_degenerate_sets():
    alike = evaluate_pair_scores(np.ones(40), np.arange(40) % 2 == 0, replicates=20)
    assert alike.intervals["auc"] == (0.5, 0.5)
    assert interval_text(None) == ""
    # All scores are equal, so no draw can accept anything.
    first, second = np.array([0, 1, 2, 0]), np.array([0, 2, 0, 1])
    found = subject_intervals(np.ones(4), first == second, first, second, (0.5,), replicates=30)
    assert found == {"5e-1": (0.0, 0.0)}
    with pytest.raises(ValueError, match="replicates"):
        accuracy_interval(np.ones(3, bool), np.zeros(3, int), replicates=0)
    with pytest.raises(ValueError, match="confidence"):
        percentile_interval([1.0], confidence=1.0)


def test_enough_impostor_pairs_are_examined_for_every_draw():
    rng = np.random.default_rng(0)
    person, other = rng.integers(0, 8, (2, 200_000))
    # Person 0 resembles the others, so a draw without this person needs more pairs.
    same, scores = person == other, rng.normal(size=200_000) + 4 * ((person == 0) | (other == 0))
    impostor, asked = np.flatnonzero(~same), []

    def highest(count):
        asked.append(count)
        top = impostor[np.argsort(-scores[impostor])[:count]]
        kept = np.concatenate([top, np.flatnonzero(same)])
        return Highest(scores[kept], same[kept], person[kept], other[kept])

    def weigh(drawn):
        return float((drawn[person] * drawn[other])[impostor].sum())

    found = drawn_subjects(highest, 8, weigh, len(impostor), (0.3,), 20)
    assert len(asked) > 1
    assert draw_intervals(found) == subject_intervals(scores, same, person, other, (0.3,), 20)
    assert found == drawn_subjects(lambda _: highest(10**6), 8, weigh, len(impostor), (0.3,), 20)
