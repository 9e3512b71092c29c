"""The command line, the Python kits and the web page use the same threshold of an artefact."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gfkeras.cards import embed_card, embedded_card
from gfkeras.inference import Embedder
from gfkeras.tasks.decision import make_decision
from gfkeras.zoo import DEFAULT_PRESET
from gfkeras.zoo.preset_files import artefact_path

EXPORT = Path(__file__).resolve().parents[2] / "export"
PAGE = """
const { readCard, chooseThresholds } = await import(process.argv[1]);
const { card, beside, far } = JSON.parse(process.argv[2]);
try {
  const found = chooseThresholds(beside, readCard(card, "card"));
  const point = found?.points.find((each) => each.far === (far ?? found.usual));
  console.log(JSON.stringify(point ? point.threshold : found && "refused"));
} catch (error) { console.log('"refused"'); }
"""
SIMILARITY = {"beta": 0.0, "gamma": 1 / 3, "distance": "l2"}


def table(fingerprint: str, **changes) -> dict:
    """Thresholds at 1e-2 and 1e-3, measured on enough pairs unless changed."""
    made = {"version": 1, "similarity": SIMILARITY, "at_far": {"1e-2": 0.3, "1e-3": 0.5},
            "impostor": 20_000, "origin": "made up", "model": fingerprint}  # fmt: skip
    return {**made, **changes}


def kit_module(name: str):
    spec = importlib.util.spec_from_file_location(
        f"kit_{name.replace('-', '_')}", EXPORT / name / "face_embedding.py"
    )
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks up its module in sys.modules.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def by_tasks(path: Path, far=None, threshold=None, force=False):
    try:
        decision = make_decision(str(path), Embedder(path), None, far, None, threshold, force)
    except ValueError:
        return "refused"
    return None if decision is None else decision.threshold


def by_kit(name: str, path: Path, far=None, threshold=None, force=False):
    kit = kit_module(name)
    try:
        embedder = kit.FaceEmbedder(path)
        faces = kit.Faces(np.eye(8, dtype=np.float32)[:2])
        return kit.result_of(embedder, faces, False, far, threshold, force).get("threshold")
    except ValueError:
        return "refused"


def by_page(path: Path, far=None):
    card = json.loads(Path(f"{path}.json").read_text())
    # The page needs a fixed batch of one. The threshold does not depend on it.
    card["inputs"][0]["shape"][0] = 1
    beside = Path(f"{path}.thresholds.json")
    given = {"card": card, "far": far, "beside": json.loads(beside.read_text()) if beside.exists()
             else None}  # fmt: skip
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", PAGE, str(EXPORT / "web" / "src" / "card.js"),
         json.dumps(given)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def shipped() -> Path:
    return artefact_path(DEFAULT_PRESET)


# (thresholds in the card, thresholds file, FAR, expected threshold)
CHOICES = {
    "card": ({}, None, None, 0.5),
    "beside": (None, {}, None, 0.5),
    "beside before card": ({"at_far": {"1e-3": 0.1}}, {}, None, 0.5),
    "none": (None, None, None, None),
    "far": ({}, {"at_far": {"1e-2": 0.25, "1e-3": 0.6}}, 1e-2, 0.25),
    "no such far": ({}, {}, 1e-4, "refused"),
    "smallest that is offered": ({"impostor": 9_999}, None, None, 0.3),
    "ten false accepts": ({"impostor": 10_000}, None, None, 0.5),
    "hardly ten": (
        {"at_far": {"1e-6": 0.7, "1e-5": 0.6}, "impostor": 9_999_999},
        None,
        1e-6,
        "refused",
    ),
    "nine at this far": ({"impostor": 9_000}, None, 1e-3, "refused"),
    "too few for any": ({"impostor": 500}, None, None, "refused"),
    "below 1e-3 only": ({"at_far": {"1e-4": 0.6, "1e-5": 0.7}, "impostor": 10**7}, None, None, 0.6),
    "another model beside": ({}, {"model": "f" * 64}, None, "refused"),
    "another model in the card": ({"model": "f" * 64}, None, None, "refused"),
    "no model named": (None, {"model": ""}, None, 0.5),
    "above 1": (None, {"at_far": {"1e-2": 1.01}}, None, "refused"),
    "below -1": (None, {"at_far": {"1e-2": -1.01}}, None, "refused"),
    "text": (None, {"at_far": {"1e-2": "0.3"}}, None, "refused"),
    "not a number": (None, {"at_far": {"1e-2": None}}, None, "refused"),
    "no threshold": (None, {"at_far": {}}, None, "refused"),
    "far above 1": (None, {"at_far": {"2e0": 0.3}}, None, "refused"),
    "no pairs": (None, {"impostor": 0}, None, "refused"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_all_take_the_same_threshold(shipped, tmp_path, name):
    in_card, beside, far, expected = CHOICES[name]
    path = Path(shutil.copy(shipped, tmp_path / "face.tflite"))
    card = json.loads(Path(f"{shipped}.json").read_text())
    card.pop("thresholds", None)
    if in_card is not None:
        card["thresholds"] = table(card["fingerprint"], **in_card)
    Path(f"{path}.json").write_text(json.dumps(card))
    if beside is not None:
        content = table(card["fingerprint"], **beside)
        Path(f"{path}.thresholds.json").write_text(json.dumps(content))
    found = {"tasks": by_tasks(path, far), "kit": by_kit("python-litert", path, far)}
    if shutil.which("node"):
        found["page"] = by_page(path, far)
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "true"])
def test_invalid_thresholds_are_refused(shipped, tmp_path, text):
    path = Path(shutil.copy(shipped, tmp_path / "face.tflite"))
    Path(f"{path}.thresholds.json").write_text(
        json.dumps(table("", at_far={"1e-2": 123})).replace("123", text)
    )
    assert by_tasks(path) == by_kit("python-litert", path) == "refused"
    value = {"true": True}.get(text, float(text) if text != "true" else 0.0)
    assert by_tasks(path, threshold=value) == "refused"
    assert by_kit("python-litert", path, threshold=value) == "refused"


def test_by_hand_and_by_force(shipped, tmp_path):
    path = Path(shutil.copy(shipped, tmp_path / "face.tflite"))
    Path(f"{path}.thresholds.json").write_text(json.dumps(table("", impostor=1000)))
    for far, threshold, force, expected in (
        (None, 0.7, False, 0.7),
        (1e-2, 0.7, False, "refused"),
        (1e-3, None, False, "refused"),
        (1e-3, None, True, 0.5),
        (None, None, True, 0.5),
        (None, None, False, 0.3),
    ):
        found = [by_tasks(path, far, threshold, force)]
        found.append(by_kit("python-litert", path, far, threshold, force))
        assert found == [expected] * 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [("python-litert", "tflite"), ("python-onnx", "onnx"), ("savedmodel", "savedmodel")],
)
def test_the_card_inside_counts_where_none_is_beside(box, tmp_path, name, kind):
    whole = getattr(box, kind)
    path = tmp_path / whole.name
    shutil.copytree(whole, path) if whole.is_dir() else shutil.copy(whole, path)
    card = embedded_card(path)
    embed_card(path, {**card, "thresholds": table(card["fingerprint"])})
    assert by_tasks(path) == by_kit(name, path) == 0.5


@pytest.mark.parametrize("text", ["{}", "null", "[]", json.dumps(table("", impostor=10**400))])
def test_a_file_beside_that_holds_no_thresholds_is_refused(shipped, tmp_path, text):
    """It is never passed over for those of the card, which may be of other pairs."""
    path = Path(shutil.copy(shipped, tmp_path / "face.tflite"))
    shutil.copy(f"{shipped}.json", f"{path}.json")
    Path(f"{path}.thresholds.json").write_text(text)
    assert by_tasks(path) == by_kit("python-litert", path) == "refused"
    if text == "{}" and shutil.which("node"):
        assert by_page(path) == "refused"
