"""1:N identification, compared with hand-computed numbers and plain loops."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfkeras.evaluation.identification import (
    SearchScores,
    cumulative_match,
    fnir_at_fpir,
    identification_errors,
    identification_result,
    search_scores,
)


def scores_of(matrix, probes, gallery):
    return search_scores(
        iter([(np.array(matrix, np.float32), np.array(probes))]), np.array(gallery)
    )


def test_by_hand():
    # Three people in the gallery, four mated probes, two strangers.
    found = scores_of(
        [
            [0.9, 0.1, 0.2],  # 1: first
            [0.6, 0.5, 0.4],  # 2: second
            [0.3, 0.7, 0.7],  # 3: a tie with 2 counts against it: second
            [0.2, 0.3, 0.1],  # 1: second
            [0.1, 0.65, 0.2],
            [0.4, 0.2, 0.3],
        ],
        [1, 2, 3, 1, 8, 9],
        [1, 2, 3],
    )
    assert found.rank.tolist() == [1, 2, 2, 2]
    np.testing.assert_allclose(found.mate, [0.9, 0.5, 0.7, 0.2], atol=1e-6)
    np.testing.assert_allclose(found.impostor, [0.65, 0.4], atol=1e-6)
    assert cumulative_match(found.rank, 3).tolist() == [0.25, 1, 1]
    # At FPIR 0.5 one of the two strangers may be accepted. Then t is above 0.4 and at most 0.5,
    # and three of four mates reach it.
    points = fnir_at_fpir(found, (0.5, 1.0, 0.4))
    assert points["5e-1"] == (0.25, pytest.approx(0.5))
    assert points["1e0"] == (0.0, pytest.approx(0.2))
    assert points["4e-1"] is None
    # With lists of one entry only the first probe can be found.
    assert fnir_at_fpir(found, (0.5,), max_rank=1)["5e-1"][0] == 0.75


@pytest.mark.parametrize("decimals", [1, 6])
def test_random_scores_against_loops(decimals):
    rng = np.random.default_rng(0)
    gallery, probes = rng.permutation(30)[:20], rng.integers(0, 30, 200)
    matrix = np.round(rng.random((200, 20)), decimals).astype(np.float32)
    mates = gallery == probes[:, None]
    matrix[mates] = np.round(matrix[mates] + 0.3, decimals)
    blocks = ((matrix[start : start + 7], probes[start : start + 7]) for start in range(0, 200, 7))
    found = identification_result(search_scores(blocks, gallery), 20, max_rank=5)
    ranks, best, outside = [], [], []
    for row, probe in zip(matrix, probes, strict=True):
        if probe not in gallery:
            outside.append(max(row))
            continue
        mate = row[list(gallery).index(probe)]
        ranks.append(1 + sum(s >= mate for s, g in zip(row, gallery, strict=True) if g != probe))
        best.append(mate)
    for rank in (1, 5, 10):
        assert found.rank[str(rank)] == sum(r <= rank for r in ranks) / len(ranks)
    for name, fpir in (("1e-2", 0.01), ("1e-1", 0.1)):
        if fpir < 1 / len(outside):
            assert found.fnir_at_fpir[name] is None
            continue
        least = 1.0
        for t in [*sorted({*best, *outside}), np.inf]:
            if sum(s >= t for s in outside) / len(outside) <= fpir:
                missed = sum(not (r <= 5 and s >= t) for r, s in zip(ranks, best, strict=True))
                least = min(least, missed / len(ranks))
        assert found.fnir_at_fpir[name] == pytest.approx(least, abs=1e-12)


def test_errors_fall_and_rise():
    rng = np.random.default_rng(1)
    found = scores_of(rng.random((50, 6)), rng.integers(0, 9, 50), np.arange(6))
    fpir, fnir, thresholds = identification_errors(found)
    assert (np.diff(fpir) >= 0).all()
    assert (np.diff(fnir) <= 0).all()
    assert (fpir[0], fnir[0]) == (0, 1)
    assert fpir[-1] == 1
    assert (np.diff(thresholds) < 0).all()


def test_several_templates_of_one_subject_count_by_the_best():
    found = scores_of([[0.2, 0.9, 0.5]], [4], [4, 4, 5])
    assert found.rank.tolist() == [1]
    assert found.mate.tolist() == [pytest.approx(0.9)]


def test_degenerate_sets():
    everything_alike = scores_of(np.ones((4, 3)), [1, 2, 3, 9], [1, 2, 3])
    assert everything_alike.rank.tolist() == [3, 3, 3]
    # The stranger's tie cannot be refused without refusing everybody.
    result = identification_result(everything_alike, 3, fpirs=(1.0,), max_rank=3)
    assert result.fnir_at_fpir == {"1e0": 0.0}
    one = identification_result(scores_of([[0.5]], [1], [1]), 1)
    assert one.rank == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert one.fnir_at_fpir == {"1e-2": None, "1e-1": None}
    with pytest.raises(ValueError, match="at least one probe"):
        identification_result(scores_of([[0.5]], [2], [1]), 1)
    with pytest.raises(ValueError, match="at least one probe"):
        identification_result(search_scores(iter([]), np.array([1])), 1)
    with pytest.raises(ValueError, match="Received: 1 mated, 0 non-mated"):
        identification_errors(scores_of([[0.5]], [1], [1]))
    with pytest.raises(ValueError, match="finite"):
        scores_of([[np.nan]], [1], [1])
    with pytest.raises(ValueError, match="at least one template"):
        scores_of(np.zeros((1, 0)), [1], [])
    with pytest.raises(ValueError, match="fpirs"):
        fnir_at_fpir(everything_alike, (0.0,))


def test_intervals_contain_the_rate_and_narrow_with_more_subjects():
    widths = []
    for subjects in (20, 320):
        rng = np.random.default_rng(2)
        probes = np.repeat(np.arange(2 * subjects), 3)
        matrix = rng.random((len(probes), subjects)).astype(np.float32)
        matrix[probes < subjects, probes[probes < subjects]] += 0.6
        result = identification_result(
            scores_of(matrix, probes, np.arange(subjects)), subjects, replicates=100
        )
        low, high = result.intervals["rank"]["1"]
        assert low <= result.rank["1"] <= high
        low_error, high_error = result.intervals["fnir_at_fpir"]["1e-1"]
        assert low_error <= result.fnir_at_fpir["1e-1"] <= high_error
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_a_rate_that_is_the_target_is_at_most_the_target():
    # One stranger of a hundred scores 0.99: FPIR is 0.01 there, but the float 1 - 99 / 100 is more.
    strangers = np.arange(100) / 100
    matrix = [*([score] for score in strangers), [0.985], [0.9]]
    found = scores_of(matrix, [*range(2, 102), 1, 1], [1])
    assert fnir_at_fpir(found, (0.01,))["1e-2"] == (0.5, pytest.approx(0.985))
    for count in range(1, 100):
        (point,) = fnir_at_fpir(found, (count / 100,)).values()
        assert (found.impostor >= point[1]).sum() <= count
        assert point[0] == (0.0 if count >= 10 else 0.5)


def test_a_tie_that_is_too_many_is_refused_at_a_threshold_json_can_write():
    found = scores_of(np.full((30, 2), 0.5), [1, 2, *range(3, 31)], [1, 2])
    result = identification_result(found, 2)
    assert result.fnir_at_fpir == {"1e-2": None, "1e-1": 1.0}
    assert result.threshold_at_fpir["1e-1"] > 0.5
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["non_mated"] == 28


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 1.0]),
    st.randoms(use_true_random=False),
)
def test_errors_are_those_of_every_threshold_tried(mated, strangers, target, random):
    def found():
        random.shuffle(mated)
        random.shuffle(strangers)
        return SearchScores(
            np.array([score / 10 for score, _ in mated]),
            np.array([rank for _, rank in mated]),
            np.array([score / 10 for score in strangers]),
            np.arange(len(mated)),
            np.arange(len(strangers)),
        )

    point = fnir_at_fpir(found(), (target,), max_rank=3)
    assert point == fnir_at_fpir(found(), (target,), max_rank=3)
    (point,) = point.values()
    if 1 / len(strangers) > target:
        assert point is None
        return
    least = 1.0
    for threshold in range(11):
        if sum(score >= threshold for score in strangers) / len(strangers) <= target:
            missed = sum(score < threshold or rank > 3 for score, rank in mated)
            least = min(least, missed / len(mated))
    assert point[0] == least
