"""The card of an artefact, inside and next to it, with thresholds and recorded results."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from gfkeras.cards import card as card_module
from gfkeras.cards import card_path, embed_card, embedded_card, tflite_metadata
from gfkeras.cards.card import read_card, record
from gfkeras.evaluation import COSINE, Thresholds
from gfkeras.export import About, export_model
from gfkeras.inference import Embedder
from gfkeras.models.properties import model_fingerprint

SUFFIX = {"savedmodel": "", "tflite": ".tflite", "onnx": ".onnx"}
SOURCES = {"licence": {"name": "research use"}}


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(mode="hard")


@pytest.fixture(scope="module")
def known(model) -> About:
    thresholds = Thresholds(COSINE, {"1e-2": 0.25, "1e-3": 0.5}, 9000, "a list")
    return About(thresholds, SOURCES, [{"protocol": "LFW", "metric": "accuracy", "value": 99.0}])


@pytest.fixture(scope="module")
def artefacts(model, known, tmp_path_factory) -> dict[str, Path]:
    """An artefact of each format, and one with int8 weights."""
    folder = tmp_path_factory.mktemp("cards")
    made = {
        name: export_model(model, folder / f"model{suffix}", format=name, about=known)
        for name, suffix in SUFFIX.items()
    }
    made["int8-weights"] = export_model(
        model, folder / "weights.tflite", precision="int8-weights", about=known
    )
    return made


def copied(path: Path, folder: Path, card: bool) -> Path:
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)
    if card:
        shutil.copyfile(card_path(path), card_path(target))
    return target


@pytest.mark.parametrize("name", [*SUFFIX, "int8-weights"])
def test_the_card_inside_is_the_one_beside(artefacts, model, images, tmp_path, name):
    path = artefacts[name]
    beside = json.loads(card_path(path).read_text())
    assert {key: beside.pop(key) for key in ("size_bytes", "sha256")}
    assert embedded_card(path) == beside
    # Without the card next to it, the artefact still has all facts.
    bare = copied(path, tmp_path, card=False)
    assert read_card(bare) == beside
    embedder, whole = Embedder(bare), Embedder(path)
    assert (embedder.mode, embedder.precision) == ("hard", beside["precision"])
    if name != "int8-weights":
        assert embedder.fingerprint == model_fingerprint(model)
    np.testing.assert_array_equal(embedder(images).embedding, whole(images).embedding)


def test_content_of_the_card(artefacts, model, known):
    card = read_card(artefacts["tflite"])
    assert card is not None
    assert card["normalisation"] == {"inside": True, "scale": 1 / 127.5, "offset": -1.0}
    assert card["sources"] == SOURCES
    assert card["reference_results"] == list(known.reference_results)
    expected = dataclasses.replace(known.thresholds, model=model_fingerprint(model))
    assert Thresholds.from_json(card["thresholds"], "card") == expected
    other = read_card(artefacts["int8-weights"])
    assert other is not None
    origin = other["thresholds"]["origin"]
    assert origin == "a list; measured on the float model, not in int8-weights"
    assert other["thresholds"]["at_far"] == expected.at_far


def test_a_model_that_normalises_otherwise(tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(keras.layers.Conv2D(2, 3, 8)(x)))
    card = read_card(export_model(model, tmp_path / "m.tflite"))
    assert card is not None
    assert card["normalisation"] == {"inside": True}
    assert not {"thresholds", "sources", "reference_results", "measured"} & set(card)


def test_thresholds_of_another_model_or_mode(model, known, tmp_path):
    for fingerprint in ("f" * 64, model_fingerprint(model, "soft")):
        other = About(dataclasses.replace(known.thresholds, model=fingerprint))
        with pytest.raises(ValueError, match="must be measured on the exported model and mode"):
            export_model(model, tmp_path / "m.tflite", about=other)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SUFFIX)
@pytest.mark.parametrize("content", ["{", "[]", '{"precision": "fp32"}', '{"precision": 3}', ""])
def test_damaged_inside(artefacts, tmp_path, monkeypatch, name, content):
    path = copied(artefacts[name], tmp_path, card=False)
    monkeypatch.setattr(card_module.json, "dumps", lambda *args, **kwargs: content)
    embed_card(path, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"The card inside .* is damaged or not a card"):
        Embedder(path)


def test_a_tflite_file_keeps_every_byte_and_its_alignment(artefacts):
    before = artefacts["tflite"].read_bytes()
    after = tflite_metadata.with_metadata(before, "a", b"x" * 33)
    front = len(after) - len(before) - (-len(before) % 64)
    assert front % 64 == 0
    assert after[front : front + len(before)] == before
    # The file grows by the new root, one entry and a reference to each buffer.
    assert front < 1024
    assert tflite_metadata.metadata(after, "a") == b"x" * 33
    assert tflite_metadata.metadata(after, "min_runtime_version") is not None
    assert tflite_metadata.metadata(after, card_module.NAME) == tflite_metadata.metadata(
        before, card_module.NAME
    )
    assert tflite_metadata.metadata(tflite_metadata.with_metadata(after, "a", b""), "a") == b""
    assert tflite_metadata.metadata(after, "b") is None


def test_a_tflite_file_with_weights_behind_the_model(artefacts):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    content = artefacts["tflite"].read_bytes()
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    # One weight is moved behind the model. Its offset depends on the length of the part before it,
    # so the model is packed twice.
    index, moved = max(enumerate(model.buffers), key=lambda each: np.size(each[1].data))
    data = bytes(moved.data)
    moved.data, moved.size = None, len(data)
    length = 16
    for _ in range(2):
        moved.offset = length
        builder = flatbuffers.Builder(0)
        builder.Finish(model.Pack(builder), b"TFL3")
        head = bytes(builder.Output())
        length = len(head) + -len(head) % 16
    behind = head.ljust(length, b"\0") + data
    after = tflite_metadata.with_metadata(behind, "a", b"x")
    buffer = schema.Model.GetRootAs(after, 0).Buffers(index)
    assert after[buffer.Offset() : buffer.Offset() + buffer.Size()] == data


@pytest.mark.parametrize("cut", [12, 200, 100_000])
def test_a_cut_or_scrambled_file_is_refused(artefacts, tmp_path, cut):
    for name in ("tflite", "onnx"):
        path = tmp_path / artefacts[name].name
        path.write_bytes(artefacts[name].read_bytes()[:cut])
        with pytest.raises(ValueError, match="cannot be read as"):
            Embedder(path)


def entry(value: float, **of: object) -> dict:
    return {"of": {"protocol": "pairs", **of}, "accuracy": value}


@pytest.mark.parametrize("name", SUFFIX)
def test_recording(artefacts, tmp_path, name):
    path = copied(artefacts[name], tmp_path, card=True)
    before = json.loads(card_path(path).read_text())
    record(path, "accuracy", entry(0.5, list="a.txt"))
    record(path, "accuracy", entry(0.6, list="b.txt", fars=(1, 2)))
    record(path, "latency", entry(3.0, list="a.txt"))
    # The entry replaces the earlier one with the same kind and `of`.
    record(path, "accuracy", entry(0.7, list="b.txt", fars=(1, 2)))
    card = read_card(path)
    assert card is not None
    measured = card.pop("measured")
    assert card == before
    assert [(each["kind"], each["accuracy"]) for each in measured] == [
        ("accuracy", 0.5), ("latency", 3.0), ("accuracy", 0.7),
    ]  # fmt: skip
    assert all(each["date"] and each["gfkeras"] for each in measured)
    # The card next to the artefact is made from the one inside.
    (tmp_path / "bare").mkdir()
    bare = copied(artefacts[name], tmp_path / "bare", card=False)
    record(bare, "accuracy", entry(0.5))
    made = json.loads(card_path(bare).read_text())
    assert len(made.pop("measured")) == 1
    assert made == before


def test_a_failed_recording_keeps_the_old_card(artefacts, tmp_path, monkeypatch):
    path = copied(artefacts["tflite"], tmp_path, card=True)
    before = card_path(path).read_bytes()
    for wrong in ({"accuracy": 1.0}, {"of": {}}, {"of": {"a": 1}, "accuracy": float("nan")},
                  {"of": {"a": 1}, "accuracy": np.ones(2)}):  # fmt: skip
        with pytest.raises(ValueError, match="`entry` must"):
            record(path, "accuracy", wrong)

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record(path, "accuracy", entry(0.5))
    monkeypatch.undo()
    assert card_path(path).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="its SHA-256 is"):
        record(path, "accuracy", entry(0.5))
    assert card_path(path).read_bytes() == before
    with pytest.raises(ValueError, match="Results are recorded in the card of an artefact"):
        record(tmp_path / "none.tflite", "accuracy", entry(0.5))
