import json

import keras
import numpy as np
import pytest
from PIL import Image
from small_networks import SMALL_BACKBONE

import gfkeras
from gfkeras.evaluation import AllPairs
from gfkeras.experiments import group_scale, group_use
from gfkeras.experiments.group_scale import calibrate_groups
from gfkeras.experiments.group_use import measure_groups
from gfkeras.tasks.groups import calibrate, groups


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen people of four images, in two colours that a group decision can tell apart."""
    root = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    for person in range(16):
        (root / f"p{person}").mkdir()
        base = rng.integers(90, 166, (8, 8, 3)) + (60 if person % 2 else -60)
        for index in range(4):
            pixels = np.kron(base, np.ones((14, 14, 1))) + rng.normal(0, 25, (112, 112, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / f"p{person}" / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    arguments = {key: value for key, value in SMALL_BACKBONE.items() if key != "name"}
    backbone = getattr(gfkeras.backbones, SMALL_BACKBONE["name"])(**arguments)
    return gfkeras.GroupFace(
        backbone, embedding_dim=16, num_groups=3, group_dim=8, shared_dim=None, mode="hard"
    )


@pytest.fixture(scope="module")
def found(model, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.keras"
    model.save(path)
    moved = []
    result = groups(path, folder, bootstrap=20, progress=lambda *call: moved.append(call))
    assert moved[-1] == ("Embedding", 64, 64)
    return result


def test_the_chosen_groups_are_the_models_own(found, model, folder):
    faces = gfkeras.data.FaceFolder(folder)
    pairs = AllPairs(faces.paths, faces.labels)
    own = gfkeras.evaluation.evaluate_pairs(gfkeras.Embedder(model).embed_files, pairs)
    assert found.results["chosen"].auc == pytest.approx(own.auc, abs=1e-5)
    instance = keras.Model(model.inputs, model.output["instance"])
    alone = gfkeras.evaluation.evaluate_pairs(gfkeras.Embedder(instance).embed_files, pairs)
    assert found.results["without"].auc == pytest.approx(alone.auc, abs=1e-5)
    assert found.mode == "hard"
    assert model.mode == "hard"
    assert sum(found.shares) == pytest.approx(1)
    assert found.far == "1e-2"
    assert found.results["chosen"].impostor == 16 * 15 // 2 * 16


def test_counts_by_hand(monkeypatch):
    person = np.array([0, 0, 1, 1])
    # One of two genuine pairs shares a group, and one of four impostor pairs.
    within, between = group_use._agreement(person, np.array([0, 0, 0, 1]), 2)
    assert within == pytest.approx(1 / 2)
    assert between == pytest.approx(2 / 4)
    # A group for each person tells everything about the person, one bit.
    assert group_use._information(person, person) == pytest.approx(1)
    assert group_use._information(person, np.array([0, 1, 0, 1])) == pytest.approx(0)


def test_groups_without_weights_are_unused(folder):
    keras.utils.set_random_seed(1)
    arguments = {key: value for key, value in SMALL_BACKBONE.items() if key != "name"}
    backbone = getattr(gfkeras.backbones, SMALL_BACKBONE["name"])(**arguments)
    still = gfkeras.GroupFace(
        backbone, embedding_dim=16, num_groups=3, group_dim=8, shared_dim=None, mode="soft",
        group_initializer="zeros",
    )  # fmt: skip
    faces = gfkeras.data.FaceFolder(folder)
    found = measure_groups(still, AllPairs(faces.paths, faces.labels), replicates=20)
    # v^G is 0, so every control is v.
    assert len({result.auc for result in found.results.values()}) == 1
    assert found.norms[1] == 0
    assert found.verdict.startswith("groups unused")
    assert found.differences["averaged"].mean == 0


def test_a_scale_that_does_not_help_is_zero(model, folder, tmp_path):
    """The groups of an untrained network do not help, so v̄ becomes v."""
    model.save_to(tmp_path / "before")
    chosen = calibrate(tmp_path / "before", folder, tmp_path / "after", bootstrap=20)
    assert list(chosen.tars) == [0, 0.1, 0.25, 0.5, 1]
    assert list(chosen.gains) == [0.1, 0.25, 0.5, 1]
    assert chosen.scale in chosen.tars
    assert bool(chosen.scale) == any(gain.better for gain in chosen.gains.values())
    after = gfkeras.load(tmp_path / "after")
    assert after.group_scale == chosen.scale
    assert json.loads(json.dumps(chosen.to_json()))["scale"] == chosen.scale
    names, rows = chosen.table()
    assert [row[0] for row in rows if row[-1]] == [f"{chosen.scale:g}"]
    assert all(len(row) == len(names) for row in rows)


def test_a_scale_that_helps_is_kept(model, folder, monkeypatch):
    """With v replaced by noise, only v^G knows the person."""
    run = group_scale.group_outputs

    def noisy(*arguments):
        outputs = run(*arguments)
        noise = np.random.default_rng(0).normal(size=outputs["instance"].shape)
        return outputs | {"instance": 1e-3 * noise.astype(np.float32)}

    monkeypatch.setattr(group_scale, "group_outputs", noisy)
    faces = gfkeras.data.FaceFolder(folder)
    chosen = calibrate_groups(model, AllPairs(faces.paths, faces.labels), replicates=20)
    assert chosen.scale > 0
    assert model.group_scale == chosen.scale
    model.group_scale = 1.0


def test_what_is_printed(found):
    names, rows = found.table()
    assert [row[0] for row in rows] == list(group_use.CONTROLS.values())
    assert all(len(row) == len(names) for row in rows)
    assert dict(found.summary())["Pairs"] == "96 genuine, 1,920 impostor"
    written = json.loads(json.dumps(found.to_json()))
    assert written["verdict"] == found.verdict
    assert set(written["differences"]) == set(group_use.CONTROLS) - {"chosen"}


def test_what_has_no_groups_is_refused(model, folder):
    faces = gfkeras.data.FaceFolder(folder)
    with pytest.raises(ValueError, match="must be a GroupFace"):
        measure_groups(model.backbone, AllPairs(faces.paths, faces.labels))
    with pytest.raises(ValueError, match="at least 100 pairs"):
        measure_groups(model, AllPairs(faces.paths[:12], faces.labels[:12]))
