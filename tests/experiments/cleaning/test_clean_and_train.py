"""The command from photos to a model trained on the cleaned list, and again from its run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import gfkeras
from gfkeras.cli import main
from gfkeras.files import tree_sha256
from gfkeras.training import Recipe, load_classifier


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    from small_networks import SMALL_BACKBONE

    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    tables = {
        "model": {"name": "Backbone", "embedding_dim": 16, "backbone": SMALL_BACKBONE},
        "head": {"name": "ArcFace", "scale": 16.0, "margin": 0.1},
        "training": {"epochs": 1, "batch_size": 4},
    }
    Recipe.parse(tables).write(path)
    return path


def json_of(path):
    return json.loads(path.read_text())


def test_from_photos_to_a_network_on_the_kept_images(photos, recipe_file, tmp_path, capsys, pooled):
    before = tree_sha256(photos)
    out, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ["clean", str(recipe_file), "--data", str(photos), "--out", str(out), "--quiet"]
    # A network that has seen three batches has learned nothing: 179 degrees drop nothing.
    assert main([*arguments, "--angle", "179", "--json", str(report)]) == 0
    first = json_of(report)
    assert (first["images"], first["dropped"], first["sub_centers"]) == (14, 0, 3)
    assert Recipe.read(out / "sub_centers" / "recipe.toml").head.name == "SubCenterArcFace"
    # Another call must not mix its files with this one.
    assert main([*arguments, "--angle", "179"]) == 2
    assert "--resume" in capsys.readouterr().err

    # Clean from the run with another angle, which drops about half.
    run, half = str(out / "sub_centers"), tmp_path / "half"
    again = ["clean", run, "--data", str(photos), "--out", str(half), "--quiet"]
    assert main([*again, "--angle", str(first["median_angle"]), "--json", str(report)]) == 0
    second = json_of(report)
    assert 0 < second["dropped"] < 14

    listed = (half / "cleaned.txt").read_text()
    assert main([*again, "--images", str(half / "cleaned.txt")]) == 2
    error = capsys.readouterr().err
    assert "`out` (--out) must not be the folder of `images` (--images)" in error
    assert (half / "cleaned.txt").read_text() == listed

    # `gfkeras train` accepts the list.
    train = ["train", str(recipe_file), "--data", str(photos), "--out", str(tmp_path / "trained")]
    images = ["--images", str(half / "cleaned.txt")]
    assert main([*train, *images, "--quiet", "--json", str(report)]) == 0
    assert json_of(report)["images"] == second["kept"]
    assert tree_sha256(photos) == before

    # The classifier has the weights of the run and the centers of its head.
    classifier, identities = load_classifier(run)
    assert identities == ["ann", "bob", "eve"]
    assert tuple(classifier.head.centers.shape) == (3, 3, 16)
    last = gfkeras.load(out / "sub_centers" / "last")
    for ours, kept_weight in zip(classifier.model.weights, last.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(kept_weight))


@pytest.mark.slow
def test_retraining_and_resuming(photos, recipe_file, tmp_path, capsys, pooled):
    out, report = tmp_path / "out", tmp_path / "report.json"
    command = ["clean", str(recipe_file), "--data", str(photos), "--out", str(out), "--quiet"]
    command += ["--retrain", "--json", str(report), "--resume", "--angle"]
    assert main([*command, "179"]) == 0
    first = json_of(report)
    assert first["retrained"]["images"] == first["kept"] == 14
    retrained = Recipe.read(out / "retrained" / "recipe.toml")
    assert retrained.head.name == "ArcFace"
    assert retrained.head.arguments == {"scale": 16.0, "margin": 0.1}
    weights = (out / "retrained" / "last" / "model.weights.h5").read_bytes()
    # A second call finds everything done. Another angle would mix two selections.
    assert main([*command, "179"]) == 0
    assert json_of(report)["retrained"]["notes"] == [
        "All 1 epochs were done already: nothing to resume."
    ]
    assert (out / "retrained" / "last" / "model.weights.h5").read_bytes() == weights
    capsys.readouterr()
    assert main([*command, str(first["median_angle"])]) == 2
    assert "another selection" in capsys.readouterr().err
    # After removing the earlier network, a new one is trained on the current selection.
    shutil.rmtree(out / "retrained")
    assert main([*command, str(first["median_angle"])]) == 0
    second = json_of(report)
    assert second["retrained"]["images"] == second["kept"] < 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--angle", "200"], "`angle` must be in [0, 180) degrees"),
        (["--sub-centers", "1"], "`sub_centers` must be at least 2"),
        (["--set", "head.name=CosFace"], "CosFace, a head without them"),
        (["--images", "none.txt"], "`images` must be a text file"),
    ],
)
def test_errors_are_one_line(photos, recipe_file, tmp_path, capsys, arguments, message):
    command = ["clean", str(recipe_file), "--data", str(photos), "--out", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint_is_refused(tmp_path, recipe_file):
    with pytest.raises(ValueError, match=r"has no recipe\.toml"):
        load_classifier(tmp_path)
    (tmp_path / "recipe.toml").write_bytes(recipe_file.read_bytes())
    (tmp_path / "identities.txt").write_text("ann\nbob\n")
    with pytest.raises(ValueError, match="must hold a checkpoint"):
        load_classifier(tmp_path)
