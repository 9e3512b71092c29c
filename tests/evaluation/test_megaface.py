"""MegaFace, compared with a hand-computed case and plain loops."""

import json

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.data.sources import Item, MegaFaceSource
from gfkeras.evaluation import COSINE, GROUP_AWARE, operating_points, roc
from gfkeras.evaluation.embedded import embed_images
from gfkeras.evaluation.megaface import distractor_blocks, evaluate_megaface


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_by_hand():
    # Two photos of A 20° apart, two of B 40° apart, one of C: four searches.
    photos, actors = angles(0, 20, 100, 140, 250), ["A", "A", "B", "B", "C"]
    # 10 is between A's photos, 70 is 30° from B's first photo, 179 is 39° from B's second.
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
    # Five of the 25 impostor pairs may be accepted, and all genuine pairs closer than the sixth.
    between = np.abs(np.subtract.outer([0, 20, 100, 140, 250], [10, 70, 179, 200, 300]))
    sixth = np.sort(np.minimum(between, 360 - between).reshape(-1))[5]
    assert result.tar_at_far["2e-1"] == sum(a < sixth for a in (20, 20, 40, 40)) / 4


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE], ids=["cosine", "group-aware"])
@pytest.mark.parametrize("decimals", [1, 7])
def test_random_faces_against_loops(similarity, decimals, monkeypatch):
    monkeypatch.setattr("gfkeras.evaluation.megaface._SCORES", 25 * 17)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((6, 8))
    actors = [f"actor {i}" for i in rng.integers(0, 6, 25)]
    rows = np.array([people[int(a[-1])] for a in actors]) + 0.7 * rng.standard_normal((25, 8))
    photos, photo_groups = unit(np.round(rows, decimals)), unit(rng.standard_normal((25, 5)))
    # Rounded so that there are ties. Some strangers occur twice.
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


def test_a_genuine_pair_between_two_impostors_is_accepted():
    # Two of eight impostor pairs may be accepted: 5° and 15°. The next one is at 80°.
    photos, strangers = angles(0, 20), [(angles(15, 100, 130, -80), None)]
    result = evaluate_megaface(photos, None, ["A", "A"], strangers, 4, sizes=(4,), fars=(0.25,))
    assert result.tar_at_far == {"2.5e-1": 1.0}
    assert result.threshold_at_far["2.5e-1"] == pytest.approx(np.cos(np.deg2rad(20)))


def halves(rng, count):
    """Rows of four ±1/2 and four zeros. Their products are exact in any order and often tie."""
    rows = rng.choice([-0.5, 0.5], (count, 8)).astype(np.float32)
    rows[:, :4] = 0
    return rng.permuted(rows, axis=1)


@pytest.mark.parametrize("seed", range(30))
def test_small_sets_are_measured_as_pairs_are(seed):
    rng = np.random.default_rng(seed)
    photos, strangers = halves(rng, 7), halves(rng, rng.integers(1, 12))
    actors = [f"actor {i}" for i in rng.integers(0, 3, 7)]
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j and actors[i] == actors[j]]
    genuine = [photos[i] @ photos[j] for i, j in pairs]
    impostor = [a @ b for a in photos for b in strangers]
    fars = (1.0, 0.5, 0.3, 3 / 7, 1 / 7, 0.1, 0.01)
    result = evaluate_megaface(
        photos, None, actors, [(row[None], None) for row in strangers], 20, fars=fars
    )
    same = np.arange(len(genuine) + len(impostor)) < len(genuine)
    points = operating_points(roc(np.array([*genuine, *impostor]), same), fars)
    found = zip(result.tar_at_far.values(), result.threshold_at_far.values(), strict=True)
    for far, (tar, threshold), point in zip(fars, found, points.values(), strict=True):
        if point is None or not point[0]:
            assert tar == (point and 0.0)
            assert point is None or np.mean(np.array(impostor) >= threshold) <= far
        else:
            assert (tar, threshold) == point
    ranks = [1 + sum(photos[i] @ s >= photos[i] @ photos[j] for s in strangers) for i, j in pairs]
    assert result.ranks[len(strangers)].tolist() == ranks


def score(faces, a, b):
    rows = [
        np.array([column[x]]) for column in (faces.embedding, faces.group_feature) for x in (a, b)
    ]
    return GROUP_AWARE(*rows)[0]


def test_from_files_as_published(tmp_path):
    rng = np.random.default_rng(0)
    actors = {f"Actor_{i}": [f"Actor_{i}_{j}.png" for j in range(3)] for i in range(4)}
    listed = [f"{actor}/{file}" for actor, files in actors.items() for file in files]
    strangers = [f"{i // 4}/{i}@N00/{i}_0.jpg" for i in range(20)]
    for folder, files in (("facescrub_images", listed), ("megaface_images", strangers)):
        for file in files:
            path = tmp_path / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "facescrub_lst").write_text("\n".join(listed))
    (tmp_path / "megaface_lst").write_text("\n".join(rng.permutation(strangers)))
    (tmp_path / "facescrub_noises.txt").write_text("#\nActor_2_1.png\n")
    (tmp_path / "megaface_noises.txt").write_text("#\n1\t0/3@N00/3_0.jpg\n")

    def measured(refined, broken=()):
        items = [
            e for e in MegaFaceSource(tmp_path, refined=refined).items() if isinstance(e, Item)
        ]
        photos = [item for item in items if item.identity is not None]
        others = [item.name for item in items if item.identity is None]
        names = [item.name for item in items]
        person = [item.identity or item.name for item in items]
        faces = FakeFaces(names, person=person, broken=broken, noise=1.0)
        embedded = embed_images(faces, [item.name for item in photos])
        skipped = list(embedded.skipped)
        kept = [p.identity for p, row in zip(photos, embedded.row, strict=True) if row >= 0]
        result = evaluate_megaface(
            embedded.embedding, embedded.group_feature, kept,
            distractor_blocks(faces, others, skipped, size=3), len(others), GROUP_AWARE,
            sizes=(5, 100), refined=refined, skipped_files=skipped,
        )  # fmt: skip
        return result, others, faces

    result, others, faces = measured(refined=True)
    assert (result.probes, result.distractors, result.searches) == (11, 19, 3 * 6 + 2)
    assert result.refined
    photos = [f"facescrub/{name}" for name in listed if "2_1" not in name]
    expected = {5: [], 19: []}
    for a in photos:
        for b in photos:
            if a != b and a.split("/")[1] == b.split("/")[1]:
                mate = score(faces, a, b)
                for size, ranks in expected.items():
                    ranks.append(1 + sum(score(faces, a, c) >= mate for c in others[:size]))
    assert {size: ranks.tolist() for size, ranks in result.ranks.items()} == expected
    # Unreadable: a whole block, a single image and a photo of an actor.
    broken = [*others[3:6], others[18], photos[0]]
    fewer, _, _ = measured(refined=True, broken=broken)
    assert (fewer.probes, fewer.distractors, fewer.searches) == (10, 15, 2 * 6 + 2 + 2)
    assert sorted(name for name, _ in fewer.skipped_files) == sorted(broken)
    content = json.loads(json.dumps(fewer.to_json(), allow_nan=False))
    assert len(content["skipped_files"]) == 5
    assert measured(refined=False)[0].distractors == 20


def test_what_cannot_be_measured():
    photos, strangers = angles(0, 20), [(angles(15), None)]
    with pytest.raises(ValueError, match=r"`actors`.*2 photos. Received: 1"):
        evaluate_megaface(photos, None, ["A"], strangers, 1)
    with pytest.raises(ValueError, match="`sizes`"):
        evaluate_megaface(photos, None, ["A", "A"], strangers, 1, sizes=(0, 10))
    with pytest.raises(ValueError, match="`fars` must be above 0"):
        evaluate_megaface(photos, None, ["A", "A"], strangers, 1, fars=(0.0,))
    with pytest.raises(ValueError, match="`size`"):
        next(distractor_blocks(FakeFaces(["a"]), ["a"], [], size=0))
