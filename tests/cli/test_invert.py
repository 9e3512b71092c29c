"""`gfkeras invert`."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from kept_run import write_run
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cli import main
from gfkeras.data import read_image
from gfkeras.training import Recipe

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16,
        num_groups=2,
        shared_dim=None,
        group_dim=16,
    )
    return str(network.save_to(tmp_path_factory.mktemp("invert") / "model"))


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Three people with two images each."""
    root = tmp_path_factory.mktemp("invert") / "people"
    rng = np.random.default_rng(0)
    for name in ("Ann", "Bob", "Cy"):
        (root / name).mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (7, 7, 3)).repeat(16, axis=0).repeat(16, axis=1)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    return root


def fails(capfd, *arguments: str) -> str:
    assert main(["invert", *arguments]) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("gfkeras: error: ")
    assert "\n" not in error
    return error


def test_people_and_copies(model, people, tmp_path, capfd):
    out, file = tmp_path / "out", tmp_path / "found.json"
    arguments = [
        "invert", model, "--data", str(people), "--identity", "Cy", "--identity", "Ann",
        "--also", model, "--steps", "1", "--copies", "2", "--quiet",
        "--out", str(out), "--json", str(file),
    ]  # fmt: skip
    assert main(arguments) == 0
    names = ["Cy-1.png", "Ann-1.png", "Cy-2.png", "Ann-2.png"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*names, "course.png", "report.json"])
    report = json.loads(file.read_text())
    assert report == json.loads((out / "report.json").read_text())
    assert [image["file"] for image in report["images"]] == names
    assert [image["target"] for image in report["images"]] == ["Cy", "Ann"] * 2
    assert (report["form"], report["centers"]) == ("open-set", None)
    assert report["command"].startswith("gfkeras invert ")
    # The reported cosines are those of the files with the mean of the person's embeddings.
    embedder = gfkeras.Embedder(model)
    for image in report["images"]:
        real = [read_image(path) for path in sorted((people / image["target"]).iterdir())]
        mean = embedder(np.stack(real)).embedding.mean(axis=0)
        found = embedder(read_image(out / image["file"])[None]).embedding[0]
        cosine = found @ mean / np.linalg.norm(mean)
        assert image["cosine"] == pytest.approx(cosine, abs=1e-5)
        # The same network as a judge gives the same cosines.
        assert image["other_networks"][model] == pytest.approx(cosine, abs=1e-5)
    cosines = [image["cosine"] for image in report["images"]]
    assert report["mean_cosine"] == pytest.approx(np.mean(cosines))
    assert report["min_cosine"] == pytest.approx(min(cosines))
    assert "4 images in" in capfd.readouterr().out


def test_classes_of_a_run(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    backbone = {"name": "MobileFaceNet", "width": 0.0625, "bottlenecks": SMALL_BOTTLENECKS}
    recipe = {
        "model": {"name": "Backbone", "embedding_dim": 16, "backbone": backbone},
        "head": {"name": "ArcFace"},
        "optimizer": {"name": "AdamW"},
    }
    classifier = write_run(run, Recipe.parse(recipe), ["Ann", "Bob", "Cy"])
    arguments = ["--classes", "Cy", "--run", str(run), "--steps", "1", "--quiet"]
    arguments += ["--finer-rate", "0.5"]
    assert main(["invert", str(run / "last"), *arguments, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["form"], report["centers"]) == ("close-set", "the head of a training run")
    assert (report["settings"]["steps"], report["settings"]["finer_rate"]) == (1, 0.5)
    embedder = gfkeras.Embedder(str(run / "last"))
    found = embedder(read_image(out / "Cy.png")[None]).embedding[0]
    center = np.asarray(classifier.head.centers)[2]
    assert report["mean_cosine"] == pytest.approx(found @ center / np.linalg.norm(center), abs=1e-5)


@pytest.mark.slow
def test_classes_and_photos(model, people, tmp_path):
    classes = ["--data", str(people), "--classes", "Bob", "--classes", "Cy"]
    photos = ["--photo", str(people / "Ann" / "0.png"), "--photo", str(people / "Bob" / "0.png")]
    reports = {}
    for name, chosen in (("classes", classes), ("photos", [*photos, "--aligned"])):
        out = tmp_path / name
        arguments = ["invert", model, *chosen, "--steps", "1", "--quiet", "--out", str(out)]
        assert main(arguments) == 0
        reports[name] = json.loads((out / "report.json").read_text())
    assert (reports["classes"]["form"], reports["classes"]["centers"]) == (
        "close-set",
        "mean embeddings of people",
    )
    # Two photos with the same name get different files.
    assert [image["file"] for image in reports["photos"]["images"]] == ["0.png", "0_2.png"]


def test_errors_are_one_line_and_nothing_is_written(model, people, tmp_path, capfd):
    out = ["--out", str(tmp_path / "out"), "--quiet"]
    data = ["--data", str(people)]
    assert "Exactly one of `photos` (--photo), `identities` (--identity)" in fails(
        capfd, model, *out
    )
    both = ["--identity", "Ann", "--classes", "Bob"]
    assert "(--identity) and `classes` (--classes)" in fails(capfd, model, *data, *both, *out)
    assert "(--identity) requires `data` (--data)" in fails(capfd, model, "--identity", "Ann", *out)
    assert "(--classes) requires `run` (--run)" in fails(capfd, model, "--classes", "Ann", *out)
    assert "did you mean 'Ann'?" in fails(capfd, model, *data, "--classes", "Anne", *out)
    assert "did you mean 'Ann'?" in fails(capfd, model, *data, "--identity", "Anne", *out)
    run = ["--run", str(people), "--classes", "Ann"]
    assert "`finer_rate` must be" in fails(
        capfd, model, *data, "--identity", "Ann", "--finer-rate", "0", *out
    )
    assert "`run` must be the folder of a run of `gfkeras train`" in fails(capfd, model, *run, *out)
    other = tmp_path / "other.npz"
    np.savez(other, embedding=np.ones((1, 5), np.float32))
    error = fails(capfd, model, "--embeddings", str(other), *out)
    assert "must have the 16 numbers of the model's embedding. Received: 5" in error
    other.write_text("no arrays")
    assert "cannot be read as `embeddings`, an .npz" in fails(
        capfd, model, "--embeddings", str(other), *out
    )
    photo = ["--photo", str(tmp_path / "none.png"), "--aligned"]
    assert "no such file" in fails(capfd, model, *photo, *out)
    assert not (tmp_path / "out").exists()
