"""`gfkeras evaluate` by every protocol, on small data sets in their official layouts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from data_sets import (
    EACH,
    PEOPLE,
    jpegs,
    write_cfp,
    write_ijb,
    write_megaface,
    write_people,
    write_youtube_faces,
)
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cli import main
from gfkeras.evaluation import Thresholds

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """An untrained GroupFace as ONNX, which opens fast."""
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16,
        num_groups=2,
        shared_dim=None,
        group_dim=16,
    )
    path = tmp_path_factory.mktemp("protocols") / "model.onnx"
    return str(gfkeras.export.export_model(network, path, format="onnx"))


@pytest.fixture(scope="module")
def faces() -> list[bytes]:
    return jpegs()


@pytest.fixture(scope="module")
def folder(faces, tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("protocols") / "people", faces)


def measured(*arguments: str, tmp_path: Path) -> dict:
    found = tmp_path / "found.json"
    command = ["evaluate", *arguments, "--bootstrap", "20", "--json", str(found)]
    assert main(command) == 0
    return json.loads(found.read_text())


def test_pairs_with_thresholds_that_compare_uses(model, folder, tmp_path, capfd):
    file = tmp_path / "t.json"
    base = [model, "--data", str(folder), "--pairs", "all"]
    found = measured(*base, "--thresholds", str(file), tmp_path=tmp_path)
    low, high = found["intervals"]["tar_at_far"]["1e-1"]
    assert low <= found["tar_at_far"]["1e-1"] <= high
    made = Thresholds.load(file)
    assert made.at_far["1e-1"] == found["threshold_at_far"]["1e-1"]
    assert "448 impostor pairs" in made.origin
    assert made.model == gfkeras.Embedder(model).fingerprint
    photos = [str(folder / "p0" / f"p0_000{i}.jpg") for i in (1, 2)]
    compare = ["compare", *photos, "--model", model, "--aligned", "--thresholds", str(file)]
    assert main([*compare, "--far", "0.1", "--json", str(tmp_path / "c.json")]) == 0
    decided = json.loads((tmp_path / "c.json").read_text())
    assert decided["decision"]["threshold"] == made.at_far["1e-1"]
    assert decided["same"] == (decided["similarity"] >= made.at_far["1e-1"])
    capfd.readouterr()
    for extra, message in (
        (["--far", "1e-6"], "`far` must be one of"),
        (["--far", "0.1", "--threshold", "0.5"], "cannot be combined with `far`"),
        (["--far", "0.1", "--group-aware"], "`thresholds` must be for the similarity"),
    ):
        assert main([*compare, *extra]) == 2
        assert message in capfd.readouterr().err
    other = Thresholds(made.similarity, made.at_far, made.impostor, made.origin, "f" * 64)
    other.save(file)
    assert main(compare) == 2
    assert "must be for this model" in capfd.readouterr().err


def test_tuning_on_development_pairs(model, folder, tmp_path, capfd):
    names = [f"p{i}" for i in range(PEOPLE)]
    rows = {kind: ["first,second,same"] for kind in ("development", "test")}
    for number, name in enumerate(names):
        other = names[(number + 1) % PEOPLE]
        for kind, (i, j) in (("development", (1, 2)), ("test", (3, 4))):
            rows[kind].append(f"{name}/{name}_000{i}.jpg,{name}/{name}_000{j}.jpg,1")
            rows[kind].append(f"{name}/{name}_000{i}.jpg,{other}/{other}_000{j}.jpg,0")
    for kind, lines in rows.items():
        (tmp_path / f"{kind}.csv").write_text("\n".join(lines))
    base = [model, "--data", str(folder), "--pairs", str(tmp_path / "test.csv")]
    found = measured(*base, "--tune", str(tmp_path / "development.csv"), tmp_path=tmp_path)
    assert found["tuned"]["pairs"] == 16
    assert found["tuned"]["accuracy"] >= found["tuned"]["cosine_accuracy"]
    assert found["similarity"]["beta"] == found["tuned"]["beta"]
    capfd.readouterr()
    assert main(["evaluate", *base, "--tune", str(tmp_path / "test.csv")]) == 2
    assert "must not hold pairs that are measured" in capfd.readouterr().err


def test_facenet(model, folder, tmp_path):
    found = measured(model, "--data", str(folder), "--protocol", "facenet", "--pairs", "all",
                     tmp_path=tmp_path)  # fmt: skip
    assert 0 <= found["validation_rate"]["1e-1"] <= 1
    assert found["validation_rate"]["1e-3"] is None


def test_bin(model, faces, tmp_path):
    order = np.random.default_rng(0).integers(0, len(faces), 120)
    # Every second pair shows one person.
    order[1::4] = (order[0::4] // EACH) * EACH + (order[0::4] + 1) % EACH
    same = (order[0::2] // EACH) == (order[1::2] // EACH)
    file = tmp_path / "some.bin"
    file.write_bytes(pickle.dumps(([faces[i] for i in order], same.tolist())))
    found = measured(model, "--data", str(file), "--protocol", "bin", "--flip", tmp_path=tmp_path)
    assert (found["pairs"], found["skipped"], found["folds"]) == (60, 0, 10)


def test_cfp(model, faces, tmp_path, capfd):
    images, lists = tmp_path / "faces", tmp_path / "cfp" / "Protocol"
    write_cfp(images, lists, faces)
    (images / "008" / "profile" / "02.jpg").unlink()
    base = [model, "--data", str(images), "--protocol", "cfp"]
    assert main(["evaluate", *base]) == 2
    assert "lists of CFP's protocol" in capfd.readouterr().err
    base += ["--pairs", str(lists)]
    plots = [
        "--plots",
        str(tmp_path / "plots"),
        "--thresholds",
        str(tmp_path / "t.json"),
        "--force",
    ]
    found = measured(*base, *plots, tmp_path=tmp_path)
    frontal, profile = found["FF"], found["FP"]
    assert (frontal["pairs"], frontal["skipped"], frontal["folds"]) == (40, 0, 10)
    assert not frontal["skipped_files"]
    # The missing image is in one genuine pair of two folds.
    assert (profile["pairs"], profile["skipped"], profile["folds"]) == (38, 2, 10)
    ((name, reason),) = profile["skipped_files"]
    assert name.endswith("008/profile/02.jpg")
    assert reason == "no such file"
    assert {path.name for path in (tmp_path / "plots").iterdir()} >= {"roc.png", "scores_FP.png"}
    # Both lists together decide the thresholds.
    assert Thresholds.load(tmp_path / "t.json").impostor == 40
    # As published: everything in one folder.
    whole = tmp_path / "CFP"
    (whole / "Data").mkdir(parents=True)
    images.rename(whole / "Data" / "Images")
    lists.rename(whole / "Protocol")
    for data in (whole, whole / "Data", whole / "Data" / "Images"):
        again = measured(model, "--data", str(data), "--protocol", "cfp", tmp_path=tmp_path)
        assert again["FP"]["accuracies"] == profile["accuracies"]
    one = measured(*base[:2], str(whole), "--protocol", "cfp", "--subset", "FP", tmp_path=tmp_path)
    assert one["accuracy"] == profile["accuracy"]
    listed = measured(*base[:2], str(whole), "--pairs", "cfp-fp", tmp_path=tmp_path)
    assert listed["accuracy"] == profile["accuracy"]
    for extra, message in (
        (["--subset", "PP"], "`subset` must be one of"),
        (["--identities", "x.txt"], "`identities` requires `protocol`"),
    ):
        assert main(["evaluate", *base[:2], str(whole), "--protocol", "cfp", *extra]) == 2
        assert message in capfd.readouterr().err


def test_crop_instead_of_alignment(model, folder, tmp_path, capfd):
    photos = tmp_path / "photos"
    for path in sorted(folder.rglob("*.jpg")):
        # The middle 112 of 200 pixels are the aligned face, so the crop must find exactly it.
        photo = Image.new("RGB", (230, 200))
        photo.paste(Image.open(path), (59, 44))
        place = photos / path.relative_to(folder).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        photo.save(place)
    aligned = measured(model, "--data", str(folder), "--pairs", "all", tmp_path=tmp_path)
    base = [model, "--data", str(photos), "--pairs", "all"]
    crop = ["--crop", "center", "--crop-scale"]
    found = measured(*base, *crop, "0.56", tmp_path=tmp_path)
    assert found["crop"] == {"kind": "center", "scale": 0.56}
    assert found["skipped"] == 0
    assert found["accuracies"] == aligned["accuracies"]
    assert found["auc"] == pytest.approx(aligned["auc"], abs=1e-6)
    assert "crop" not in aligned
    capfd.readouterr()
    for extra, message in (
        ([], "None of the"),
        (["--crop", "middle"], "`crop` must be one of"),
        (["--crop-scale", "0.5"], "`crop_scale` requires `crop`"),
        ([*crop, "1.5"], "`crop_scale` must be from 0.05 to 1"),
        ([*crop, "0"], "`crop_scale` must be"),
        ([*crop, "0.5", "--align"], "cannot be combined with `align`"),
        ([*crop, "0.5", "--resize"], "cannot be combined with `crop`"),
        ([*crop, "0.5", "--face", "central"], "require `crop` (--crop) box"),
    ):
        assert main(["evaluate", *base, *extra]) == 2
        assert message in capfd.readouterr().err, extra


def test_ytf(model, faces, tmp_path):
    root = tmp_path / "ytf"
    write_youtube_faces(root, faces)
    base = [model, "--data", str(root), "--protocol", "ytf", "--group-aware"]
    found = measured(*base, "--max-frames", "1", tmp_path=tmp_path)
    assert (found["pairs"], found["folds"], found["skipped"]) == (16, 2, 0)
    assert found["similarity"]["beta"] == 0.1


def test_ijb(model, faces, tmp_path):
    root = tmp_path / "IJBC"
    write_ijb(root, faces)
    base = [model, "--data", str(root), "--protocol", "ijb", "--plots", str(tmp_path / "plots")]
    found = measured(*base, tmp_path=tmp_path)
    assert found["verification"]["pairs"] == 120
    assert found["verification"]["genuine"] == 8
    assert [g["mated"] for g in found["identification"]["galleries"]] == [3, 3]
    assert set(found["identification"]["rank"]) == {"1", "5", "10"}
    drawn = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"roc", "det", "scores", "thresholds", "cmc", "identification_errors"}
    only = measured(*base[:5], "--task", "1:1", tmp_path=tmp_path)
    assert only["tar_at_far"] == found["verification"]["tar_at_far"]


def test_megaface(model, faces, tmp_path):
    root = tmp_path / "pack"
    write_megaface(root, faces)
    base = [model, "--data", str(root), "--protocol", "megaface"]
    plots = ["--plots", str(tmp_path / "plots")]
    found = measured(*base, *plots, tmp_path=tmp_path)
    assert (found["probes"], found["distractors"], found["searches"]) == (12, 20, 36)
    assert set(found["rank"]) == {"10", "20"}
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {"cmc", "distractors"}
    refined = measured(*base, "--refined", tmp_path=tmp_path)
    assert (refined["probes"], refined["distractors"], refined["searches"]) == (11, 19, 30)
    assert refined["refined"] is True
