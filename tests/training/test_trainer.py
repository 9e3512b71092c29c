"""The trainer: its files, resuming, and refused arguments."""

from __future__ import annotations

import copy
import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

import gfkeras
from gfkeras.data import FaceBatches, FaceFolder, Faces, IdentitySampler
from gfkeras.training import Recipe, run_folder, train


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, tiny_faces, recipe_tables):
    """A run of three epochs with a callback of the user."""
    seen: list[dict] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    out = tmp_path_factory.mktemp("whole") / "run"
    result = train(Recipe.parse(recipe_tables), tiny_faces, out, verbose=0, callbacks=[watch])
    return result, seen, copy.deepcopy(recipe_tables)


def test_everything_is_written(whole_run):
    result, _, recipe = whole_run
    out = result.out
    assert {path.name for path in out.iterdir()} >= {
        "recipe.toml", "log.csv", "best", "last", "checkpoints", "identities.txt", "heldout.txt",
        "skipped.csv", "summary.json",
    }  # fmt: skip
    assert Recipe.read(out / "recipe.toml") == Recipe.parse(recipe)
    assert (out / "identities.txt").read_text() == "0\n1\n2\n3\n"
    assert (out / "heldout.txt").read_text() == "4\n5\n"
    summary = json.loads((out / "summary.json").read_text())
    assert summary == json.loads(json.dumps(result.to_json()))
    assert (summary["epochs"], summary["images"], summary["identities"]) == (3, 16, 4)
    assert (summary["heldout_images"], summary["heldout_identities"]) == (8, 2)
    assert summary["parameters"] == gfkeras.load(out / "last").count_params()
    if keras.backend.backend() == "tensorflow":
        assert list((out / "tensorboard").rglob("events.*"))


def test_the_log_has_a_row_an_epoch_and_callbacks_see_the_same(whole_run):
    result, seen, _ = whole_run
    log = rows(result.out / "log.csv")
    assert [row["epoch"] for row in log] == ["1", "2", "3"]
    expected = {
        "loss", "identity_loss", "self_grouping_loss", "accuracy", "learning_rate", "seconds",
        "images_per_second", "val_accuracy", "val_auc", "val_eer", "effective_groups",
        "effective_groups_soft",
    }  # fmt: skip
    assert set(log[0]) - {"epoch"} == expected
    for row, logs in zip(log, seen, strict=True):
        assert set(logs) == expected
        assert float(row["loss"]) == pytest.approx(logs["loss"], rel=1e-4)
    best = max(float(row["val_auc"]) for row in log)
    assert result.best_value == pytest.approx(best, rel=1e-4)
    assert result.monitor == "val_auc"


def test_the_saved_model_runs(whole_run, tiny_faces):
    result, _, _ = whole_run
    for folder in (result.best, result.last):
        model = gfkeras.load(folder)
        assert model(tiny_faces.images[:2])["embedding"].shape == (2, 16)


def test_a_run_is_not_overwritten(whole_run, tiny_faces):
    result, _, recipe = whole_run
    before = (result.out / "log.csv").read_bytes()
    with pytest.raises(ValueError, match=r"already holds a run .* resume"):
        train(Recipe.parse(recipe), tiny_faces, result.out, verbose=0)
    assert (result.out / "log.csv").read_bytes() == before


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_weights(whole_run, tiny_faces, tmp_path):
    result, _, recipe = whole_run

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    checked = Recipe.parse(recipe)
    with pytest.raises(KeyboardInterrupt):
        train(checked, tiny_faces, tmp_path / "run", verbose=0, callbacks=[Stop()])
    # Random numbers that were drawn before must not matter.
    keras.utils.set_random_seed(99)
    resumed = train(checked, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    assert resumed.epochs == 3
    log, whole = rows(tmp_path / "run" / "log.csv"), rows(result.out / "log.csv")
    assert [row["epoch"] for row in log] == ["1", "2", "3"]
    assert [row["loss"] for row in log] == [row["loss"] for row in whole]
    ours, theirs = gfkeras.load(resumed.last), gfkeras.load(result.last)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)

    again = train(checked, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    assert "nothing to resume" in again.notes[-1]

    other = Recipe.parse(recipe, ["model.embedding_dim=8"])
    with pytest.raises(ValueError, match=r"another \[model\]"):
        train(other, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    fewer = tiny_faces.select([0, 1, 2, 4, 5])
    with pytest.raises(ValueError, match="another number of identities"):
        train(checked, fewer, tmp_path / "run", resume=True, verbose=0)
    for state in (tmp_path / "run" / "checkpoints").glob("*/variables.npz"):
        state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"no checkpoint to resume from.*cut short.*cut short"):
        train(checked, tiny_faces, tmp_path / "run", resume=True, verbose=0)


@pytest.fixture
def watched_batches(monkeypatch):
    """{(epoch, index): labels} of all batches in the trainer's data set."""
    seen: dict[tuple[int, int], list[int]] = {}

    class Watched(FaceBatches):
        def moved_batch(self, epoch, index):
            images, labels, key = super().moved_batch(epoch, index)
            seen[epoch, index] = labels.tolist()
            return images, labels, key

    monkeypatch.setattr(gfkeras.training.training_data, "FaceBatches", Watched)
    return seen


# Only the losses of other tests use the group logits of `pooled`.
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_batches_by_identity(tmp_path, tiny_faces, tiny_recipe, watched_batches, pooled):
    tiny_recipe |= {"data": {}, "loss": []}
    tiny_recipe["model"] = {"name": "Backbone", "embedding_dim": 16} | {
        "backbone": tiny_recipe["model"]["backbone"]
    }
    recipe = Recipe.parse(tiny_recipe, ["training.images_per_identity=4", "training.epochs=2"])
    result = train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    assert result.epochs == 2
    assert Recipe.read(tmp_path / "run" / "recipe.toml") == recipe
    sampler = IdentitySampler(tiny_faces.labels, 2, 4, seed=recipe.seed)
    for epoch in range(2):
        for index, rows in enumerate(sampler.order(epoch)):
            assert watched_batches[epoch, index] == sampler.labels[rows].tolist()


def test_a_folder_with_damage_trains_and_lists_it(tmp_path, tiny_faces, tiny_recipe, pooled):
    root = tmp_path / "faces"
    for index, (image, label) in enumerate(zip(tiny_faces.images, tiny_faces.labels, strict=True)):
        (root / f"p{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / f"p{label}" / f"{index}.png")
    (root / "p0" / "bad.jpg").write_text("text")
    (root / "loose.txt").write_text("text")
    tiny_recipe["training"] = {"epochs": 1, "batch_size": 8}
    result = train(Recipe.parse(tiny_recipe), FaceFolder(root), tmp_path / "run", verbose=0)
    assert result.skipped == 2
    listed = (tmp_path / "run" / "skipped.csv").read_text()
    assert "bad.jpg,not an image of a known format" in listed
    assert "loose.txt" in listed
    assert (tmp_path / "run" / "heldout.txt").read_text() == "p4\np5\n"


def test_a_loss_that_explodes_is_named_and_the_good_model_kept(
    tmp_path, tiny_faces, tiny_recipe, pooled
):
    tiny_recipe["optimizer"] = {"name": "SGD", "learning_rate": 1e30}
    tiny_recipe["schedule"] = {"name": "constant"}
    tiny_recipe["data"]["holdout_identities"] = 0
    with pytest.raises(ValueError, match=r"stopped being finite in epoch \d, step \d+"):
        train(Recipe.parse(tiny_recipe), tiny_faces, tmp_path / "run", verbose=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.batch_size=1"], "batch_size` must be at least 2"),
        (["training.batch_size=17"], "at most the 16 training images"),
        (
            ["training.images_per_identity=1"],
            r"at most the 4 training identities\. Received: 8 / 1 = 8",
        ),
        (["data.holdout_identities=6"], "fewer than the 6 identities"),
        (["data.holdout_identities=5"], r"at least two identities.*Received: 1"),
        (["data.holdout_identities=1"], "at least two people"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_written(
    tmp_path, tiny_faces, tiny_recipe, settings, message
):
    recipe = Recipe.parse(tiny_recipe, settings)
    with pytest.raises(ValueError, match=message):
        train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_one_identity_only(tmp_path, tiny_faces, tiny_recipe):
    tiny_recipe["data"]["holdout_identities"] = 0
    alone = Faces(tiny_faces.images[:8], np.zeros(8, int))
    with pytest.raises(ValueError, match="at least two identities"):
        train(Recipe.parse(tiny_recipe), alone, tmp_path / "run", verbose=0)


def test_out_must_not_be_a_file(tmp_path, tiny_faces, tiny_recipe):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="which is a file"):
        train(Recipe.parse(tiny_recipe), tiny_faces, tmp_path / "run", verbose=0)


def test_images_of_another_size_are_reported(recipe_tables, tmp_path):
    for person in range(3):
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for number, size in enumerate(((112, 112), (250, 250), (112, 112))):
            Image.new("RGB", size).save(tmp_path / "faces" / f"p{person}" / f"{number}.png")
    for resize, counts, said in (
        (False, (6, 0, 3), "left out"),
        (True, (9, 3, 0), "scaled to fit"),
    ):
        faces = FaceFolder(tmp_path / "faces").load(resize=resize)
        assert (len(faces), faces.resized, len(faces.skipped)) == counts
        (note,) = run_folder.notes_on_images(faces, None)
        assert note.startswith("3 images")
        assert said in note
        assert "prepare --align" in note
    # A user who trains on photos sees this message.
    for person in range(3):
        for number in (0, 2):
            (tmp_path / "faces" / f"p{person}" / f"{number}.png").unlink()
    with pytest.raises(ValueError, match="250x250 pixels, not an aligned face of 112x112"):
        train(Recipe.parse(recipe_tables), tmp_path / "faces", tmp_path / "run", verbose=0)


def test_fit_without_labels_says_so(tiny_faces):
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=((1, 8, 1, 2),)),
        embedding_dim=8, num_groups=2, shared_dim=None, group_dim=8,
    )  # fmt: skip
    model = gfkeras.FaceClassifier(network, gfkeras.heads.ArcFace(4))
    model.compile("sgd")
    with pytest.raises(ValueError, match="`y` must hold the label of each image"):
        model.fit(tiny_faces.images[:4], batch_size=2, verbose=0)
