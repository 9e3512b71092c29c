"""Offline mining: the triplets, their loss, and a training that is stopped and continued."""

from __future__ import annotations

import numpy as np
import pytest
from differentiation import value_and_gradients
from interrupted_runs import stopped
from triplets import distances

from gfkeras.data import FaceBatches, Faces
from gfkeras.losses import HarmonicTripletLoss, TripletLoss
from gfkeras.training import Recipe, offline_mining, train
from gfkeras.training.offline_mining import OfflineMining, mine_triplets


def rows(people=12, each=5, dimensions=4, seed=0):
    """Embeddings with overlapping people, and one person with a single image."""
    rng = np.random.default_rng(seed)
    labels = np.append(np.repeat(np.arange(people), each), people)
    centers = rng.normal(size=(people + 1, dimensions))
    found = centers[labels] + 0.9 * rng.normal(size=(len(labels), dimensions))
    order = rng.permutation(len(labels))
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit[order].astype("float32"), labels[order]


@pytest.mark.parametrize("negatives", ["hard", "semi-hard"])
@pytest.mark.parametrize("block", [8_000_000, 150])
def test_triplets_obey_the_definition(negatives, block, monkeypatch):
    monkeypatch.setattr(offline_mining, "_BLOCK", block)
    embedding, labels = rows()
    found = mine_triplets(embedding, labels, 150, np.random.default_rng(1), negatives)
    assert found.shape == (150, 3)
    apart = distances(embedding, "squared-l2", normalize=False)
    fallen_back = 0
    for a, p, n in found:
        assert a != p
        assert labels[a] == labels[p] != labels[n]
        of_others = np.where(labels == labels[a], np.inf, apart[a])
        if negatives == "semi-hard":
            of_others = np.where(of_others > apart[a, p], of_others, np.inf)
        if np.isinf(of_others).all():
            fallen_back += 1
            assert apart[a, n] == np.where(labels == labels[a], -1, apart[a]).max()
        else:
            assert apart[a, n] == pytest.approx(of_others.min(), abs=1e-6)
    assert fallen_back < 15
    # Anchors are dealt like cards: 60 images have a positive, so each is used 2 or 3 times.
    counts = np.bincount(found[:, 0], minlength=len(labels))
    assert set(counts) == {0, 2, 3}
    assert (counts == 0).sum() == 1


def test_pairs_without_a_farther_negative_get_the_farthest():
    # Two people whose images are farther apart than the people are.
    embedding = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], "float32")
    labels = np.array([0, 0, 1, 1])
    found = mine_triplets(embedding, labels, 8, np.random.default_rng(0))
    assert (labels[found[:, 2]] != labels[found[:, 0]]).all()
    for wrong in (np.zeros(4, int), np.arange(4)):
        with pytest.raises(ValueError, match="two or more people"):
            mine_triplets(embedding, wrong, 8, np.random.default_rng(0))


@pytest.mark.parametrize("distance", ["squared-l2", "l2", "angular"])
@pytest.mark.parametrize("soft", [False, True])
def test_loss_of_listed_triplets(distance, soft):
    embedding, labels = rows()
    listed = mine_triplets(embedding, labels, 8, np.random.default_rng(2)).ravel()
    # The second triplet is broken, as after an unreadable image, and must not count.
    listed[5] = listed[3]
    loss = TripletLoss(margin=0.3, mining="listed", distance=distance, soft=soft, weight=2.0)
    batch = embedding[listed] * 3
    value, (_, gradient) = value_and_gradients(
        loss, labels[listed].astype("int32"), batch, compiled=True
    )
    apart = distances(batch, distance, normalize=True)
    differences = [apart[i, i + 1] - apart[i, i + 2] for i in range(0, 24, 3) if i != 3]
    each = [np.logaddexp(0, d) if soft else max(d + 0.3, 0) for d in differences]
    assert value == pytest.approx(2 * np.mean(each), rel=1e-5)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[3:6].any()
    # Equal rows have no direction, but their gradient must be finite.
    same = np.ones((3, 4), "float32")
    _, (_, gradient) = value_and_gradients(loss, np.array([0, 0, 1], "int32"), same, compiled=True)
    assert np.isfinite(gradient).all()


def test_what_is_refused(recipe_tables):
    with pytest.raises(ValueError, match="triplets of rows"):
        TripletLoss(mining="listed")(np.array([0, 0, 1, 1]), np.eye(4, dtype="float32"))
    with pytest.raises(ValueError, match="`mining` must be one of"):
        HarmonicTripletLoss(mining="listed")
    listed = {"loss": [{"name": "TripletLoss", "mining": "listed"}]}
    for tables, message in (
        ({"mining": {}}, "needs a"),
        (listed, r"needs \[mining\]"),
        ({"mining": {"negatives": "easy"}, **listed}, "semi-hard"),
        ({"mining": {"images": 0}, **listed}, "greater than 0|at least"),
        ({"mining": {}, **listed, "training": {"batch_size": 12, "images_per_identity": 4}},
         "images_per_identity"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Recipe.parse({**recipe_tables, **tables})


@pytest.fixture
def recipe(recipe_tables):
    """Three epochs of two steps, with semi-hard triplets of four people or more."""
    return Recipe.parse({
        **recipe_tables, "head": {"name": "none"},
        "loss": [{"name": "TripletLoss", "mining": "listed", "margin": 0.5}],
        "mining": {"every_steps": 2, "images": 9},
        "training": {"epochs": 3, "batch_size": 12, "checkpoint_steps": 1},
        "evaluation": {"pairs": 12},
    })  # fmt: skip


def test_a_stopped_run_continues_with_its_files(recipe, tiny_faces, tmp_path, monkeypatch):
    mined = []
    mine = OfflineMining._mine

    def counted(self, epoch, embed):
        mined.append(epoch)
        return mine(self, epoch, embed)

    monkeypatch.setattr(OfflineMining, "_mine", counted)
    result = train(recipe, tiny_faces, tmp_path / "whole", verbose=0)
    assert (result.epochs, mined) == (3, [0, 1, 2])
    orders = {
        path.name: np.load(path) for path in sorted((tmp_path / "whole" / "mining").iterdir())
    }
    assert list(orders) == ["epoch-000001.npy", "epoch-000002.npy"]
    faces = tiny_faces.split(2)[0]
    for order in orders.values():
        triplets = faces.labels[order].reshape(-1, 3)
        assert (triplets[:, 0] == triplets[:, 1]).all()
        assert (triplets[:, 0] != triplets[:, 2]).all()
        # Nine images are three people of four.
        assert len(np.unique(triplets)) == 3
    mined.clear()
    stopped(recipe, tiny_faces, tmp_path / "cut", 3)
    train(recipe, tiny_faces, tmp_path / "cut", resume=True, verbose=0)
    # The second epoch was mined once, and continued from its file.
    assert mined == [0, 1, 2]
    for name, order in orders.items():
        np.testing.assert_array_equal(np.load(tmp_path / "cut" / "mining" / name), order)


def test_a_damaged_file_is_mined_again(tiny_faces, tmp_path):
    mining = OfflineMining(tiny_faces.labels, 6, 2, tmp_path)
    rng = np.random.default_rng(0)

    def embed(chosen):
        return rng.normal(size=(len(chosen), 4)).astype("float32"), chosen

    # Before `prepare`, there is nothing to read.
    with pytest.raises(ValueError, match="no mined triplets"):
        mining.order(0)
    mining.prepare(0, embed)
    first = mining.order(0)
    file = tmp_path / "mining" / "epoch-000000.npy"
    file.write_bytes(file.read_bytes()[:-9])
    again = OfflineMining(tiny_faces.labels, 6, 2, tmp_path)
    again.prepare(0, embed)
    assert again.order(0).shape == first.shape
    np.testing.assert_array_equal(np.load(file), again.order(0))
    # Files of other data do not fit.
    fewer = OfflineMining(tiny_faces.labels[:12], 6, 2, tmp_path)
    fewer.prepare(0, embed)
    assert fewer.order(0).max() < 12
    batches = FaceBatches(tiny_faces.images, tiny_faces.labels, sampler=mining)
    assert batches[0][1].shape == (6,)


def test_a_part_of_the_people_has_a_positive(recipe, tmp_path):
    # Two of twenty people have two images, so few random parts contain one of them.
    labels = np.append(np.arange(20), [3, 8])

    def embed(chosen):
        return np.eye(22, 4, dtype="float32")[chosen] + 0.1, chosen

    seen = set()
    for seed in range(12):
        mining = OfflineMining(labels, 6, 2, tmp_path / str(seed), images=3, seed=seed)
        mining.prepare(0, embed)
        triplets = labels[mining.order(0)].reshape(-1, 3)
        assert (triplets[:, 0] == triplets[:, 1]).all()
        assert len(set(triplets.ravel().tolist())) <= 4
        seen |= set(triplets[:, 0].tolist())
    assert seen == {3, 8}
    for wrong in (np.arange(12), np.zeros(12, int)):
        faces = Faces(np.zeros((12, 112, 112, 3), "uint8"), wrong, [str(i) for i in range(12)])
        with pytest.raises(ValueError, match="two or more people, one of them with two images"):
            offline_mining.build_mining(recipe, faces, tmp_path)
