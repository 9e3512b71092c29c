"""β and γ: chosen if groups help, left at the cosine if not, never chosen on measured pairs."""

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.evaluation import PairList, all_pairs
from gfkeras.evaluation.pairs import evaluate_pairs
from gfkeras.evaluation.tuning import require_disjoint, tune_similarity

NAMES = [f"p{i // 4}/{i}.jpg" for i in range(48)]
PAIRS = all_pairs(NAMES, [i // 4 for i in range(48)], folds=4)


def faces(groups_help):
    files = PAIRS.files()
    found = FakeFaces(files, person=[path.parent for path in files], noise=2.0)
    if groups_help:
        rng = np.random.default_rng(3)
        mine = {f"p{i}": rng.standard_normal(6) for i in range(12)}
        found.group_feature = {path: mine[path.parent.name].astype(np.float32) for path in files}
    return found


def test_helpful_groups_are_used_and_the_accuracy_is_that_of_the_protocol():
    tuned = tune_similarity(faces(True), PAIRS)
    assert tuned.similarity.beta > 0
    assert tuned.accuracy > tuned.cosine_accuracy + 0.02
    measured = evaluate_pairs(faces(True), PAIRS, similarity=tuned.similarity)
    assert tuned.accuracy == pytest.approx(measured.accuracy, abs=1e-9)
    assert tuned.cosine_accuracy == pytest.approx(evaluate_pairs(faces(True), PAIRS).accuracy)
    assert max(row[2] for row in tuned.table) == tuned.accuracy
    assert tuned.to_json()["pairs"] == len(PAIRS)


def test_groups_without_information_are_left_out():
    blank = faces(False)
    blank.group_feature = dict.fromkeys(blank.group_feature, np.ones(6, np.float32))
    tuned = tune_similarity(blank, PAIRS)
    assert tuned.similarity.beta == 0
    assert tuned.accuracy == tuned.cosine_accuracy


def test_a_network_without_groups_cannot_be_tuned():
    def plain(names):
        found = faces(False)(names)
        found.group_feature = None
        return found

    with pytest.raises(ValueError, match="needs group features"):
        tune_similarity(plain, PAIRS)


def test_measured_pairs_are_refused_in_either_order_and_shared_people_counted():
    half = PAIRS.select(np.arange(len(PAIRS)) < 500)
    rest = PAIRS.select(np.arange(len(PAIRS)) >= 500)
    assert require_disjoint(half, rest) > 0
    turned = PairList(PAIRS.second[:1], PAIRS.first[:1], PAIRS.same[:1], PAIRS.fold[:1])
    with pytest.raises(ValueError, match=r"p0/0\.jpg"):
        require_disjoint(half, turned)
    with pytest.raises(ValueError, match="pairs that are measured"):
        tune_similarity(faces(True), PAIRS, measured=turned)
    others = all_pairs(["x/1.jpg", "x/2.jpg", "y/1.jpg"], [0, 0, 1])
    assert require_disjoint(half, others) == 0
