"""MegaFace against a hand-worked case and plain loops."""

import numpy as np
import pytest

from gfkeras.evaluation import COSINE, GROUP_AWARE
from gfkeras.evaluation.megaface import evaluate_megaface


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_by_hand():
    # Two photos of A 20° apart, two of B 40° apart, one of C: four searches.
    photos, actors = angles(0, 20, 100, 140, 250), ["A", "A", "B", "B", "C"]
    # The first lies between A's photos, 70 is 30° from B's first, 179 is 39° from B's second.
    distractors = angles(10, 70, 179, 200, 300)
    result = evaluate_megaface(photos, None, actors, [(distractors, None)], 5,
                               sizes=(1, 2, 5), fars=(0.2, 0.01))  # fmt: skip
    assert result.ranks[1].tolist() == [2, 2, 1, 1]
    assert result.ranks[2].tolist() == [2, 2, 2, 1]
    assert result.ranks[5].tolist() == [2, 2, 2, 2]
    assert result.rank_1 == {1: 0.5, 2: 0.25, 5: 0.0}
    assert result.cmc[5][:2].tolist() == [0, 1]
    assert result.impostor == 25
    assert result.tar_at_far["1e-2"] is None


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE], ids=["cosine", "group-aware"])
@pytest.mark.parametrize("decimals", [1, 7])
def test_random_faces_against_loops(similarity, decimals, monkeypatch):
    monkeypatch.setattr("gfkeras.evaluation.megaface._SCORES", 25 * 17)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((6, 8))
    actors = [f"actor {i}" for i in rng.integers(0, 6, 25)]
    rows = np.array([people[int(a[-1])] for a in actors]) + 0.7 * rng.standard_normal((25, 8))
    photos, photo_groups = unit(np.round(rows, decimals)), unit(rng.standard_normal((25, 5)))
    # Rounded, so that there are ties, and some strangers twice.
    strangers = unit(np.round(rng.standard_normal((150, 8)), decimals) + 1e-3)
    strangers[100:] = strangers[:50]
    groups = unit(rng.standard_normal((150, 5)))
    blocks = [(strangers[s : s + 40], groups[s : s + 40]) for s in range(0, 150, 40)]
    result = evaluate_megaface(
        photos, photo_groups, actors, blocks, 150, similarity, (10, 100, 10_000), (0.1, 0.01, 1e-5)
    )
    genuine = similarity.matrix(photos, photos, photo_groups, photo_groups)
    impostor = similarity.matrix(photos, strangers, photo_groups, groups)
    pairs = [(i, j) for i in range(25) for j in range(25) if i != j and actors[i] == actors[j]]
    assert sorted(result.ranks) == [10, 100, 150]
    for size, ranks in result.ranks.items():
        expected = [1 + int((impostor[i, :size] >= genuine[i, j]).sum()) for i, j in pairs]
        assert np.abs(ranks - expected).max() <= (1 if decimals == 1 else 0)
        assert result.rank_1[size] == np.mean(ranks == 1)
    scores = np.array([genuine[pair] for pair in pairs])
    for name, far in (("1e-1", 0.1), ("1e-2", 0.01)):
        allowed = [t for t in {*scores, *impostor.reshape(-1)} if (impostor >= t).mean() <= far]
        best = max(((scores >= t).mean() for t in allowed), default=0.0)
        assert result.tar_at_far[name] == pytest.approx(best, abs=1e-9)
        assert (impostor >= result.threshold_at_far[name]).mean() <= far
    assert result.tar_at_far["1e-5"] is None


def test_degenerate_sets():
    photos, actors = angles(0, 0, 90), ["A", "A", "B"]
    alike = [(angles(0, 0, 0), None)]
    result = evaluate_megaface(photos, None, actors, alike, 3, sizes=(3,), fars=(0.5,))
    assert result.ranks[3].tolist() == [4, 4]
    # Six of nine impostor pairs score 1, more than half: none of them may be accepted.
    assert result.tar_at_far == {"5e-1": 0.0}
    with pytest.raises(ValueError, match="an actor with two photos"):
        evaluate_megaface(photos[1:], None, ["A", "B"], alike, 3)
    with pytest.raises(ValueError, match="at least one face"):
        evaluate_megaface(photos, None, actors, [], 3)
    with pytest.raises(ValueError, match="finite"):
        evaluate_megaface(photos, None, actors, [(np.full((1, 2), np.nan, "f4"), None)], 1)
    with pytest.raises(ValueError, match="`count`"):
        evaluate_megaface(photos, None, actors, alike, 2)
    with pytest.raises(ValueError, match=r"`fars` must be at most"):
        evaluate_megaface(photos, None, actors, alike, 10**9, fars=(0.1,))


def test_intervals_draw_actors():
    rng = np.random.default_rng(0)
    actors = [str(i % 10) for i in range(40)]
    photos = unit(np.tile(rng.standard_normal((10, 6)), (4, 1)) + rng.standard_normal((40, 6)))
    blocks = [(unit(rng.standard_normal((200, 6))), None)]
    result = evaluate_megaface(
        photos, None, actors, blocks, 200, sizes=(200,), fars=(0.1,), replicates=50, refined=True
    )
    low, high = result.intervals["rank_1"]["200"]
    assert low <= result.rank_1[200] <= high
    low, high = result.intervals["tar_at_far"]["1e-1"]
    assert low <= result.tar_at_far["1e-1"] <= high
    assert result.to_json()["refined"] is True
    assert dict(result.summary())["Distractors"] == "200, refined lists"
