"""FaceNet's VAL at FAR, compared with a hand-computed case and plain loops."""

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.evaluation import all_pairs
from gfkeras.evaluation.validation_rate import evaluate_validation_rate, validation_rate_of_scores


def test_by_hand():
    # Two folds of three genuine and two impostor pairs, with squared distances 2 − 2 cos.
    distances = np.array([0.2, 0.5, 1.2, 0.9, 1.6, 0.3, 0.4, 1.0, 0.8, 1.5])
    same = np.array([1, 1, 1, 0, 0, 1, 1, 1, 0, 0], bool)
    fold = np.repeat([0, 1], 5)
    result = validation_rate_of_scores(1 - distances / 2, same, fold, (0.5, 0.4))
    # For fold 0, one of the impostors at 0.8 and 1.5 may be accepted, so the distance is just below
    # 1.5. It accepts all three genuine pairs and one impostor. For fold 1 it is just below 1.6.
    rate = result.at_far["5e-1"]
    assert rate.rates.tolist() == [1, 1]
    assert rate.fars.tolist() == [0.5, 1.0]
    np.testing.assert_allclose(rate.thresholds, [1.5, 1.6], atol=1e-6)
    assert result.at_far["4e-1"] is None


def test_random_scores_against_loops():
    rng = np.random.default_rng(0)
    same = rng.random(3000) < 0.4
    scores = np.clip(np.round(rng.normal(size=3000) * 0.2 + 0.5 * same, 2), -1, 1)
    fold = rng.integers(0, 5, 3000)
    result = validation_rate_of_scores(scores, same, fold, (0.1, 0.01), replicates=200)
    distances = 2 - 2 * scores
    for name, far in (("1e-1", 0.1), ("1e-2", 0.01)):
        rates, fars = [], []
        for number in range(5):
            others = (fold != number) & ~same
            allowed = [d for d in np.unique(distances) if (distances[others] <= d).mean() <= far]
            mine = fold == number
            accepted = distances <= max(allowed)
            rates.append(accepted[mine & same].mean())
            fars.append(accepted[mine & ~same].mean())
        found = result.at_far[name]
        np.testing.assert_allclose(found.rates, rates)
        np.testing.assert_allclose(found.fars, fars)
        assert found.mean == pytest.approx(np.mean(rates))
        assert found.standard_error == pytest.approx(np.std(rates, ddof=1) / 5**0.5)
        low, high = result.intervals[name]
        assert low <= found.mean <= high


def test_from_files_to_json():
    names = [f"p{i // 4}/{i}.jpg" for i in range(48)]
    pairs = all_pairs(names, [i // 4 for i in range(48)], folds=4)
    files = pairs.files()
    faces = FakeFaces(files, person=[path.parent for path in files], broken=files[:1])
    data = evaluate_validation_rate(faces, pairs, (0.1, 1e-5)).to_json()
    assert data["skipped"] == 47
    assert 0 < data["validation_rate"]["1e-1"] <= 1
    assert data["validation_rate"]["1e-5"] is None
    rows = dict(evaluate_validation_rate(faces, pairs, (0.1, 1e-5), replicates=20).summary())
    assert "95%" in rows["VAL @ FAR 1e-1"]
    assert rows["VAL @ FAR 1e-5"] == "too few impostor pairs"


def test_degenerate_sets():
    same = np.arange(40) % 2 == 0
    alike = validation_rate_of_scores(np.ones(40), same, fars=(0.5, 1.0))
    assert alike.at_far["5e-1"].rates.tolist() == [0] * 10
    assert alike.at_far["1e0"].rates.tolist() == [1] * 10
    with pytest.raises(ValueError, match="finite"):
        validation_rate_of_scores([np.nan, 1.0], [True, False])
    with pytest.raises(ValueError, match="two folds, each with pairs of both kinds"):
        validation_rate_of_scores([0.5, 1.0], [True, False])
    with pytest.raises(ValueError, match="fold 0 with 2 genuine and 0 impostor"):
        validation_rate_of_scores([0.5, 1.0, 0.1, 0.2], [1, 1, 0, 0], [0, 0, 1, 1])
