"""The card of an artefact: content written by commands, and decisions by its thresholds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cards.card import read_card
from gfkeras.cli import main
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.evaluation import COSINE, Thresholds
from gfkeras.models.properties import model_fingerprint

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)

TOLD = """
[licence]
name = "research use"
commercial_use = false

[provenance]
by = "somebody"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An untrained GroupFace with a thresholds file and a sources file."""
    keras.utils.set_random_seed(0)
    model = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16, num_groups=2,
        shared_dim=None, group_dim=16, mode="hard",
    )  # fmt: skip
    path = model.save_to(tmp_path_factory.mktemp("cards") / "network")
    known = Thresholds(COSINE, {"1e-2": 0.25}, 100, "dev", model_fingerprint(model))
    known.save(path / "thresholds.json")
    (path / "sources.toml").write_text(TOLD)
    return path


@pytest.fixture(scope="module")
def artefact(folder) -> Path:
    path = folder.parent / "face.onnx"
    assert main(["export", str(folder), "--format", "onnx", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cards") / "faces"
    images, labels = synthetic_faces(num_identities=4, images_per_identity=3, seed=0)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / f"p{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image, np.uint8)).save(root / f"p{label}" / f"{number}.png")
    return root


def compare(model: Path, faces: Path, out: Path, *more: str) -> dict:
    photos = [str(photo) for photo in sorted(faces.rglob("*.png"))[:2]]
    # The commands report which thresholds decide, so a few pairs are enough.
    arguments = ["compare", *photos, "--model", str(model), "--aligned", "--force"]
    assert main([*arguments, "--json", str(out), *more]) == 0
    return json.loads(out.read_text())["decision"]


def test_the_card_names_sources_and_thresholds(folder, artefact):
    card = read_card(artefact)
    assert card["sources"]["folder"] == "network"
    assert card["sources"]["licence"] == {"name": "research use", "commercial_use": False}
    assert card["sources"]["provenance"] == {"by": "somebody"}
    weights = json.loads((folder / "config.json").read_text())["weights"]
    assert card["sources"]["weights"] == weights
    assert card["thresholds"] == json.loads((folder / "thresholds.json").read_text())


def test_the_card_is_decided_by_last(artefact, faces, tmp_path):
    # A copy of the file alone has only the card inside it.
    bare = Path(shutil.copyfile(artefact, tmp_path / "bare.onnx"))
    decision = compare(bare, faces, tmp_path / "r.json")
    origin = "the card of bare.onnx: dev"
    assert (decision["threshold"], decision["far"], decision["origin"]) == (0.25, 1e-2, origin)
    assert decision["impostor_pairs"] == 100
    fingerprint = gfkeras.Embedder(bare).fingerprint
    beside = tmp_path / "bare.onnx.thresholds.json"
    Thresholds(COSINE, {"1e-2": 0.5}, 100, "beside", fingerprint).save(beside)
    assert compare(bare, faces, tmp_path / "r.json")["threshold"] == 0.5
    named = tmp_path / "t.json"
    Thresholds(COSINE, {"1e-2": 0.75}, 100, "named", fingerprint).save(named)
    decision = compare(bare, faces, tmp_path / "r.json", "--thresholds", str(named))
    assert decision["threshold"] == 0.75


def test_int8_weights_decide_by_the_float_models(folder, faces, tmp_path):
    out = tmp_path / "w.tflite"
    arguments = ["export", str(folder), "--format", "tflite", "--precision", "int8-weights"]
    assert main([*arguments, "--out", str(out)]) == 0
    decision = compare(out, faces, tmp_path / "r.json")
    assert decision["threshold"] == 0.25
    assert "measured on the float model, not in int8-weights" in decision["origin"]


def test_thresholds_of_another_mode(folder, faces, tmp_path, capsys):
    out = tmp_path / "soft.onnx"
    arguments = ["export", str(folder), "--format", "onnx", "--mode", "soft", "--out", str(out)]
    # Unsuitable thresholds in the folder are left out. If the user names them, they are an error.
    assert main(arguments) == 0
    assert "The card has no thresholds" in capsys.readouterr().out
    assert "thresholds" not in read_card(out)
    before = out.read_bytes()
    assert main([*arguments, "--thresholds", str(folder / "thresholds.json")]) == 2
    assert "must be measured on the exported model and mode" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_sources_that_are_none(folder, tmp_path, capsys):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "sources.toml").write_text("[license]\nname = 'x'\n")
    out = tmp_path / "m.onnx"
    assert main(["export", str(copy), "--format", "onnx", "--out", str(out)]) == 2
    assert "sources.toml" in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_records(artefact, faces, tmp_path, capsys):
    path = Path(shutil.copyfile(artefact, tmp_path / "m.onnx"))
    arguments = ["evaluate", str(path), "--data", str(faces), "--pairs", "all", "--bootstrap", "0"]
    assert main([*arguments, "--json", str(tmp_path / "r.json"), "--record"]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    # The same measurement again replaces the entry. Another one adds an entry.
    assert main([*arguments, "--record"]) == 0
    assert main([*arguments, "--flip", "--record"]) == 0
    first, second = read_card(path)["measured"]
    assert first["of"] == {
        "protocol": "pairs", "data": "faces", "list": "all", "flip": False, "align": False,
        "similarity": {"beta": 0.0, "gamma": first["of"]["similarity"]["gamma"], "distance": "l2"},
    }  # fmt: skip
    for key in ("accuracy", "accuracy_std", "tar_at_far", "auc", "eer", "pairs"):
        assert first[key] == found[key]
    assert first["command"].startswith(f"gfkeras evaluate {path} --data")
    assert second["of"]["flip"] is True
    capsys.readouterr()
    assert main(["evaluate", "nothing", *arguments[2:], "--record"]) == 2
    assert "Results are recorded in the card of an artefact" in capsys.readouterr().err
