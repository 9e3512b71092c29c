import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gfkeras.evaluation import PairList, all_pairs, evaluate_pair_scores, evaluate_pairs

PATHS = [Path(f"{person}/{i}.png") for person in range(6) for i in range(5)]
LABELS = np.repeat(np.arange(6), 5)


class FakeEmbedder:
    """Embeds by file name, fails for some files, and remembers the files of each call."""

    def __init__(self, broken=(), noise=0.2, groups=False):
        rng = np.random.default_rng(0)
        person = rng.normal(size=(6, 16))
        rows = person[LABELS] + noise * rng.normal(size=(30, 16))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        self.rows = dict(zip(PATHS, rows, strict=True))
        self.broken, self.groups, self.asked = set(broken), groups, []

    def __call__(self, paths):
        self.asked.append(list(paths))
        index = [i for i, path in enumerate(paths) if path not in self.broken]
        embedding = np.array([self.rows[paths[i]] for i in index], np.float32).reshape(-1, 16)
        return SimpleNamespace(
            embedding=embedding,
            group_feature=2 * embedding[:, :4] if self.groups else None,
            norm=None,
            index=np.array(index, dtype=np.int32),
            skipped=[(path, "truncated") for path in paths if path in self.broken],
        )


def test_each_file_is_embedded_once_and_scored_by_its_cosine():
    embedder, pairs = FakeEmbedder(), all_pairs(PATHS, LABELS)
    result = evaluate_pairs(embedder, pairs)
    assert len(embedder.asked) == 1
    assert embedder.asked[0] == pairs.files()
    assert len(set(embedder.asked[0])) == 30
    expected = [
        float(np.dot(embedder.rows[a], embedder.rows[b]))
        for a, b in zip(pairs.first, pairs.second, strict=True)
    ]
    np.testing.assert_allclose(result.scores, expected, atol=1e-6)
    assert result.accuracy > 0.95
    assert result.skipped == 0
    assert result.kept is pairs


def test_pairs_of_unreadable_files_are_skipped_counted_and_listed():
    broken = [PATHS[0], PATHS[7]]
    pairs = all_pairs(PATHS, LABELS)
    result = evaluate_pairs(FakeEmbedder(broken), pairs)
    assert result.skipped == 29 + 28
    assert result.pairs == len(pairs) - 57
    assert result.skipped_files == [(path, "truncated") for path in broken]
    assert not set(broken) & set(result.kept.files())
    kept = [not {a, b} & set(broken) for a, b in zip(pairs.first, pairs.second, strict=True)]
    whole = evaluate_pairs(FakeEmbedder(), pairs)
    np.testing.assert_array_equal(result.scores, whole.scores[kept])
    np.testing.assert_array_equal(result.fold, pairs.fold[kept])


def test_nothing_left_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"None of the 30 images could be read.*truncated"):
        evaluate_pairs(FakeEmbedder(PATHS), all_pairs(PATHS, LABELS))
    nothing = PairList([], [], np.zeros(0, bool), np.zeros(0, int))
    with pytest.raises(ValueError, match="at least one pair"):
        evaluate_pairs(FakeEmbedder(), nothing)


def test_one_kind_left_is_refused():
    with pytest.raises(ValueError, match="0 genuine, 1 impostor"):
        evaluate_pairs(FakeEmbedder([p for p in PATHS if p not in (PATHS[0], PATHS[5])]),
                       all_pairs(PATHS, LABELS))  # fmt: skip


def test_embeddings_are_checked():
    embedder = FakeEmbedder()
    embedder.rows[PATHS[3]] = np.full(16, np.nan, np.float32)
    with pytest.raises(ValueError, match=r"3\.png is not finite"):
        evaluate_pairs(embedder, all_pairs(PATHS, LABELS))

    def one_row_short(paths):
        found = FakeEmbedder()(paths)
        found.embedding = found.embedding[1:]
        return found

    with pytest.raises(ValueError, match=r"\(29, 16\), index of shape \(30,\)"):
        evaluate_pairs(one_row_short, all_pairs(PATHS, LABELS))


def test_embeddings_that_are_not_normalised_give_cosines_all_the_same():
    embedder = FakeEmbedder()
    pairs = all_pairs(PATHS, LABELS)
    before = evaluate_pairs(embedder, pairs).scores
    embedder.rows = {path: (i + 1) * row for i, (path, row) in enumerate(embedder.rows.items())}
    np.testing.assert_allclose(evaluate_pairs(embedder, pairs).scores, before, atol=1e-6)


def test_another_similarity_takes_embeddings_and_group_features():
    seen = []

    def similarity(a, b, group_a, group_b):
        seen.append(None if group_a is None else group_a.shape)
        return np.sum(a * b, axis=1)[:, None]

    pairs = all_pairs(PATHS, LABELS)
    result = evaluate_pairs(FakeEmbedder(groups=True), pairs, similarity=similarity)
    plain = evaluate_pairs(FakeEmbedder(), pairs)
    np.testing.assert_allclose(result.scores, plain.scores, atol=1e-6)
    evaluate_pairs(FakeEmbedder(), pairs, similarity=similarity)
    assert seen == [(435, 4), None]


def test_json_holds_the_contracts_keys_and_is_json():
    result = evaluate_pairs(FakeEmbedder([PATHS[0]]), all_pairs(PATHS, LABELS))
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for key in ("accuracy", "accuracy_std", "balanced_accuracy", "auc", "eer"):
        assert 0 <= data[key] <= 1
    assert data["pairs"] == data["genuine"] + data["impostor"] == 435 - 29
    assert data["skipped"] == 29
    assert data["skipped_files"] == [[str(PATHS[0]), "truncated"]]
    assert data["tar_at_far"]["1e-2"] is not None
    assert data["tar_at_far"]["1e-3"] is None  # 350 impostor pairs cannot show it
    assert data["threshold_at_far"]["1e-3"] is None
    assert len(data["thresholds"]) == len(data["accuracies"]) == data["folds"] == 10


def test_threshold_at_far_gives_that_tar():
    result = evaluate_pairs(FakeEmbedder(noise=0.8), all_pairs(PATHS, LABELS))
    threshold = result.threshold_at_far["1e-1"]
    accepted = result.scores >= threshold
    assert accepted[~result.same].mean() <= 0.1
    assert accepted[result.same].mean() == result.tar_at_far["1e-1"]


def test_hardest_pairs_come_first():
    result = evaluate_pair_scores([0.9, 0.2, 0.5, 0.8, 0.1, 0.3], [1, 1, 1, 0, 0, 0], [0, 1] * 3)
    assert result.hardest(same=True, count=2).tolist() == [1, 2]
    assert result.hardest(same=False, count=9).tolist() == [3, 5, 4]


def test_summary_rows_are_texts():
    rows = dict(evaluate_pairs(FakeEmbedder([PATHS[0]]), all_pairs(PATHS, LABELS)).summary())
    assert rows["Pairs"].startswith("406 (")
    assert rows["Skipped"] == "29 pairs, 1 files"
    assert "TAR @ FAR 1e-2" in rows
    assert "TAR @ FAR 1e-3" not in rows


def test_scores_without_folds_are_split_into_ten():
    same = np.arange(100) % 2 == 0
    result = evaluate_pair_scores(same + np.linspace(0, 0.5, 100), same)
    assert result.accuracy == result.balanced_accuracy == result.auc == 1.0
    assert len(result.folds.folds) == 10
