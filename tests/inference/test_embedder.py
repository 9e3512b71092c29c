"""The Embedder: the same results in every runtime, and refused input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from gfkeras.backbones import MobileFaceNet
from gfkeras.inference import Embedder

GROUPS, DIM = 5, 12
KINDS = ["keras", "savedmodel", "tflite", "fixed", "onnx"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def copied(path: Path, folder: Path, card: bool) -> Path:
    """Returns a copy of an artefact that the test can damage."""
    target = folder / path.name
    (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
    if card:
        shutil.copyfile(f"{path}.json", f"{target}.json")
    return target


def test_the_models_numbers(model, images):
    result = Embedder(model)(images)
    expected = model(images, training=False)
    np.testing.assert_allclose(result.embedding, unit(np.asarray(expected["embedding"])), atol=1e-5)
    np.testing.assert_allclose(result.group_feature, expected["group_feature"], atol=1e-5)
    logits = np.asarray(expected["group_logits"])
    np.testing.assert_array_equal(result.group, logits.argmax(axis=-1))
    assert result.embedding.dtype == np.float32
    assert result.group.dtype == np.int32
    assert len(result) == len(images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 10])
def test_every_runtime_agrees(model, artefacts, images, kind, count):
    expected = Embedder(model)(images[:count])
    result = Embedder(artefacts[kind], batch_size=4, num_threads=1)(images[:count])
    np.testing.assert_allclose(result.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_allclose(result.group_feature, expected.group_feature, atol=1e-4)
    np.testing.assert_array_equal(result.group, expected.group)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_as_the_network_gives_them(model, artefacts, images, kind):
    expected = model(images, training=False)
    embedder = Embedder(artefacts[kind], flip=True, batch_size=4, num_threads=2)
    found = embedder.outputs(images)
    assert set(found) == set(expected) - ({"instance"} if kind != "keras" else set())
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)
    with pytest.raises(ValueError, match="`images` must hold at least one"):
        embedder.outputs(images[:0])


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_one_after_the_other(artefacts, images, kind):
    embedder = Embedder(artefacts[kind])
    alone = np.concatenate([embedder(images[i : i + 1]).embedding for i in range(5)])
    for count in (5, 2, 5):
        np.testing.assert_allclose(embedder(images[:count]).embedding, alone[:count], atol=1e-5)


def test_float_and_uint8_are_the_same(model, images):
    embedder = Embedder(model)
    np.testing.assert_array_equal(
        embedder(images).embedding, embedder(images.astype(np.float32)).embedding
    )


def test_flip(model, images):
    plain, flipped = Embedder(model)(images), Embedder(model, flip=True)(images)
    outputs = [np.asarray(model(x)["embedding"]) for x in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(flipped.embedding, unit(sum(outputs)), atol=1e-5)
    np.testing.assert_array_equal(flipped.group, plain.group)
    np.testing.assert_array_equal(flipped.group_feature, plain.group_feature)


def test_last_batch_is_padded_to_few_sizes(model, images, monkeypatch):
    sizes = []
    original = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda x: sizes.append(len(x)) or original(x))
    embedder = Embedder(model, batch_size=6)
    for count in range(1, 11):
        assert len(embedder(images[:count])) == count
    assert set(sizes) == {1, 2, 4, 6}


def test_backbone_without_groups(images):
    backbone = MobileFaceNet(embedding_dim=16, width=0.125, input_shape=(32, 32, 3))
    embedder = Embedder(backbone)
    result = embedder(images[:2])
    assert result.embedding.shape == (2, 16)
    assert result.group is None
    assert result.group_feature is None
    assert embedder.mode is None
    with pytest.raises(ValueError, match="`mode` can be set for a GroupFace"):
        embedder.mode = "hard"


def test_mode(model, images):
    embedder = Embedder(model)
    before = model.mode
    found = {}
    for mode in ("soft", "hard", "soft"):
        embedder.mode = mode
        found.setdefault(mode, []).append(embedder(images).embedding)
    model.mode = before
    np.testing.assert_array_equal(found["soft"][0], found["soft"][1])
    assert np.abs(found["soft"][0] - found["hard"][0]).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], "images\\[np.newaxis\\]"),
        (lambda x: x[:0], "at least one image"),
        (lambda x: x[..., :1], "grey"),
        (lambda x: x.repeat(2, axis=-1)[..., :4], "alpha"),
        (lambda x: x[:, :16], "32"),
        (lambda x: x.astype(np.float32) * 2, "values"),
        (lambda x: np.full(x.shape, np.nan), "NaN"),
    ],
)
def test_wrong_images(model, images, change, message):
    with pytest.raises(ValueError, match=message):
        Embedder(model)(change(images))


def test_files(model, images, tmp_path):
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image).save(paths[-1])
    (tmp_path / "text.jpg").write_text("not an image")
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(paths[0].read_bytes()[:60])
    listed = [paths[0], tmp_path / "text.jpg", *paths[1:], truncated, tmp_path / "missing.png"]
    result = Embedder(model, batch_size=3).embed_files(listed)
    np.testing.assert_array_equal(result.index, [0, *range(2, 11)])
    assert [path.name for path, _ in result.skipped] == [
        "text.jpg", "truncated.png", "missing.png",
    ]  # fmt: skip
    assert all(reason for _, reason in result.skipped)
    expected = Embedder(model)(images)
    np.testing.assert_allclose(result.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_array_equal(result.group, expected.group)

    nothing = Embedder(model, batch_size=2).embed_files([truncated] * 5)
    assert nothing.embedding.shape[0] == len(nothing.index) == 0
    assert len(nothing.skipped) == 5
    with pytest.raises(ValueError, match="at least one image"):
        Embedder(model).embed_files([])


@pytest.mark.parametrize("kind", ["savedmodel", "tflite", "onnx"])
@pytest.mark.parametrize("part", [0, 0.5, 0.98])
def test_truncated_artefact(artefacts, tmp_path, kind, part):
    path = copied(artefacts[kind], tmp_path, card=False)
    file = path / "saved_model.pb" if path.is_dir() else path
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=path.name) as error:
        Embedder(path)
    assert "cannot be read as" in str(error.value)


@pytest.mark.parametrize("kind", ["savedmodel", "tflite", "onnx"])
def test_garbage_artefact(artefacts, tmp_path, kind):
    path = copied(artefacts[kind], tmp_path, card=False)
    file = path / "saved_model.pb" if path.is_dir() else path
    file.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match="cannot be read as"):
        Embedder(path)


def test_savedmodel_without_variables(artefacts, tmp_path):
    path = copied(artefacts["savedmodel"], tmp_path, card=False)
    shutil.rmtree(path / "variables")
    with pytest.raises(ValueError, match="cannot be read as a SavedModel"):
        Embedder(path)


@pytest.mark.parametrize("kind", ["savedmodel", "tflite", "onnx"])
def test_tampered_artefact(artefacts, images, tmp_path, kind):
    path = copied(artefacts[kind], tmp_path, card=True)
    assert Embedder(path).card["format"] == kind
    file = next((path / "variables").glob("*.data*")) if path.is_dir() else path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        Embedder(path)


def test_missing_file_of_a_card(artefacts, tmp_path):
    path = copied(artefacts["savedmodel"], tmp_path, card=True)
    next((path / "variables").glob("*.index")).unlink()
    with pytest.raises(ValueError, match="is missing"):
        Embedder(path)


@pytest.mark.parametrize(
    "card", ["", "[]", "{}", '{"sha256": 3}', '{"sha256": {"../../etc/passwd": "00"}}']
)
def test_damaged_card(artefacts, tmp_path, card):
    path = copied(artefacts["tflite"], tmp_path, card=False)
    Path(f"{path}.json").write_text(card)
    with pytest.raises(ValueError, match=r"model\.tflite"):
        Embedder(path)


def test_truncated_model_folder(artefacts, tmp_path):
    path = copied(artefacts["keras"], tmp_path, card=False)
    weights = path / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="truncated"):
        Embedder(path)


def test_what_is_accepted(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"x")
    for source, message in [
        (tmp_path / "model.pt", "suffix '.pt'"),
        (tmp_path / "missing.tflite", "does not exist"),
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "neither config.json nor saved_model.pb"),
        ("no-such-preset", "no-such-preset"),
        (3, "Received: model_or_path=3"),
    ]:
        with pytest.raises(ValueError, match=r"a \.tflite, \.onnx, \.keras or \.h5 file") as error:
            Embedder(source)
        assert message in str(error.value)


def test_wrong_arguments(model):
    with pytest.raises(ValueError, match="batch_size"):
        Embedder(model, batch_size=0)
    with pytest.raises(ValueError, match="num_threads"):
        Embedder(model, num_threads=0)
    vectors = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must take images"):
        Embedder(vectors)


def test_missing_package(artefacts, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"gfkeras\[onnx\]"):
        Embedder(artefacts["onnx"])


def test_jax_without_tensorflow(artefacts, images, tmp_path):
    pytest.importorskip("jax")
    np.save(tmp_path / "images.npy", images)
    program = """
import sys
sys.modules["tensorflow"] = None
import numpy as np
from gfkeras.inference import Embedder, group_aware_similarity
folder, images, out = sys.argv[1:]
result = Embedder(folder, batch_size=4)(np.load(images))
v, g = result.embedding, result.group_feature
rows = (v[:5], v[5:], g[:5], g[5:])
np.savez(out, embedding=result.embedding, similarity=np.asarray(group_aware_similarity(*rows)))
"""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            artefacts["keras"],
            tmp_path / "images.npy",
            tmp_path / "o",
        ],
        check=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": path},
        timeout=300,
    )
    result = np.load(tmp_path / "o.npz")
    expected = Embedder(artefacts["tflite"])(images)
    np.testing.assert_allclose(result["embedding"], expected.embedding, atol=1e-4)
    assert result["similarity"].shape == (5,)


def test_card_is_plain_json(artefacts):
    card = json.loads(Path(f"{artefacts['tflite']}.json").read_text())
    assert card["outputs"][0] == {
        "name": "embedding", "shape": [None, DIM], "dtype": "float32",
    }  # fmt: skip
