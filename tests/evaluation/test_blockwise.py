import numpy as np
import pytest

from gfkeras.evaluation import (
    GROUP_AWARE,
    AllPairs,
    all_pairs,
    blockwise,
    evaluate_pair_scores,
    evaluate_pairs,
    tune_similarity,
)
from gfkeras.evaluation.intervals import subject_intervals
from gfkeras.inference import FileEmbeddings

FARS = (1e-1, 1e-2, 1e-3)


class Model:
    """Embeds faces of 40 people of 1 to 9 images, close to each other within a person."""

    def __init__(self, unreadable: tuple[int, ...] = (), noise: float = 0.6):
        rng = np.random.default_rng(3)
        self.labels = np.repeat(np.arange(40), 1 + np.arange(40) % 9)
        self.paths = [f"{person}/{i}.jpg" for i, person in enumerate(self.labels)]
        means = rng.normal(size=(40, 16))[self.labels]
        embedding = means + noise * rng.normal(size=means.shape)
        self.embedding = (embedding / np.linalg.norm(embedding, axis=1)[:, None]).astype(np.float32)
        self.group = rng.random((len(means), 4)).astype(np.float32)
        self.kept = np.setdiff1d(np.arange(len(means)), unreadable)
        self.skipped = [(self.paths[i], "damaged") for i in unreadable]

    def __call__(self, paths):
        assert [str(path) for path in paths] == self.paths
        rows = self.kept
        return FileEmbeddings(self.embedding[rows], self.group[rows], None, rows, self.skipped)

    def scores(self, similarity=None):
        """Scores, kinds and people of all pairs of readable files, row after row."""
        rows = self.kept[np.stack(np.triu_indices(len(self.kept), 1))]
        embedding, group = self.embedding[rows], self.group[rows]
        if similarity is None:
            scores = np.einsum("nd,nd->n", *embedding)
        else:
            scores = similarity(*embedding, *group)
        people = self.labels[rows]
        return scores, people[0] == people[1], people


@pytest.mark.parametrize("block", [1, 700, 1 << 21])
@pytest.mark.parametrize("similarity", [None, GROUP_AWARE])
def test_blocks_measure_what_a_list_measures(monkeypatch, block, similarity):
    monkeypatch.setattr(blockwise, "_BLOCK", block)
    model = Model(unreadable=(3, 17))
    options = {} if similarity is None else {"similarity": similarity}
    found = evaluate_pairs(model, AllPairs(model.paths, model.labels), FARS, **options)
    scores, same, _ = model.scores(similarity)
    # Each kind takes turns in ten folds.
    folds = np.where(same, np.cumsum(same) - 1, np.cumsum(~same) - 1) % 10
    exact = evaluate_pair_scores(scores, same, folds, FARS)
    assert (found.genuine, found.impostor) == (exact.genuine, exact.impostor)
    assert found.tar_at_far == pytest.approx(exact.tar_at_far, abs=1e-12)
    assert found.threshold_at_far == pytest.approx(exact.threshold_at_far, abs=1e-5)
    assert found.auc == pytest.approx(exact.auc, abs=1e-6)
    assert found.eer == pytest.approx(exact.eer, abs=1e-6)
    np.testing.assert_allclose(found.folds.accuracies, exact.folds.accuracies, atol=1e-3)
    np.testing.assert_allclose(found.balanced_accuracy, exact.balanced_accuracy, atol=1e-3)
    assert found.folds.folds.tolist() == list(range(10))
    assert found.skipped == len(model.labels) * (len(model.labels) - 1) // 2 - len(scores)
    assert [reason for _, reason in found.skipped_files] == ["damaged", "damaged"]
    assert not len(found.scores)


def test_a_threshold_accepts_what_its_rates_say():
    model = Model()
    found = evaluate_pairs(model, AllPairs(model.paths, model.labels), FARS)
    scores, same, _ = model.scores()
    for name in found.tar_at_far:
        accepted = scores >= found.threshold_at_far[name]
        assert accepted[same].mean() == found.tar_at_far[name]
        assert accepted[~same].mean() <= float(name)


def test_intervals_draw_people(monkeypatch):
    model = Model()
    # 19,900 pairs, so only a FAR of 1e-1 accepts more.
    monkeypatch.setattr(blockwise, "_EXAMINED", 1000)
    found = evaluate_pairs(model, AllPairs(model.paths, model.labels), FARS, replicates=50)
    scores, same, people = model.scores()
    expected = subject_intervals(scores, same, *people, FARS[1:], 50)
    assert found.intervals["tar_at_far"]["1e-1"] is None
    for name, interval in expected.items():
        assert found.intervals["tar_at_far"][name] == pytest.approx(interval, abs=1e-9)
    shown = dict(found.summary())
    assert "95%" in shown["TAR @ FAR 1e-3"]
    assert "95%" not in shown["TAR @ FAR 1e-1"]
    assert found.to_json()["pairs"] == len(scores)


def test_the_list_of_all_pairs_is_the_same_set():
    model = Model()
    pairs = AllPairs(model.paths, model.labels)
    listed = pairs.listed()
    assert len(listed) == len(pairs)
    assert listed.files() == pairs.files()
    np.testing.assert_array_equal(listed.same, model.scores()[1])


def test_what_cannot_be_measured_is_refused():
    model = Model()
    with pytest.raises(ValueError, match="two people"):
        AllPairs(["a/1.jpg", "b/1.jpg"], [0, 1])
    # People 1 to 39 are unreadable, so no impostor pair is left.
    alone = Model(unreadable=tuple(range(1, len(model.labels))))
    with pytest.raises(ValueError, match="two people"):
        evaluate_pairs(alone, AllPairs(model.paths, model.labels))
    development = all_pairs(model.paths[:6], model.labels[:6], folds=2)
    with pytest.raises(ValueError, match="in both"):
        tune_similarity(model, development, AllPairs(model.paths, model.labels))
