"""Models in Keras' file formats, and clones of models."""

from __future__ import annotations

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from blocking import WITHOUT_TENSORFLOW
from bounded import refusal
from processes import start_python
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.training.optimizers import SGD
from gfkeras.training.schedules import Warmup

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    backbone = gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS)
    return gfkeras.GroupFace(
        backbone, embedding_dim=8, num_groups=3, shared_dim=None, group_dim=8, combine="concat"
    )


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    training = gfkeras.FaceClassifier(
        model, gfkeras.heads.ArcFace(3), gfkeras.losses.SelfGroupingLoss()
    )
    training.compile(SGD(0.1))
    training.save(folder / "training.keras")
    for name in ("model.keras", "model.h5"):
        model.save(folder / name)
    return folder


def embed(model):
    return keras.ops.convert_to_numpy(model(IMAGES)["embedding"])


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_load_and_embedder_read_files_of_keras(name, files, model):
    loaded = gfkeras.load(files / name)
    assert isinstance(loaded, gfkeras.GroupFace)
    np.testing.assert_allclose(embed(loaded), embed(model), atol=1e-6)
    unit = gfkeras.Embedder(files / name)(IMAGES).embedding
    expected = embed(model) / np.linalg.norm(embed(model), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-5)


def test_a_saved_training_embeds_by_its_model(files, model):
    loaded = gfkeras.load(files / "training.keras")
    assert isinstance(loaded, gfkeras.FaceClassifier)
    embedding = gfkeras.Embedder(files / "training.keras")(IMAGES).embedding
    np.testing.assert_allclose(embedding, gfkeras.Embedder(model)(IMAGES).embedding, atol=1e-6)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.99])
def test_a_damaged_file_is_one_line(name, kept, files, tmp_path):
    whole = (files / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(
        ValueError, match=rf"{name} cannot be read as a(n HDF5| Keras) file"
    ) as caught:
        gfkeras.load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "folder"])
def test_a_network_too_large_for_its_weights_is_refused(name, files, model, tmp_path):
    path = tmp_path / name
    if name == "folder":
        model.save_to(path)
        config = path / "config.json"
        text = config.read_text()
        config.write_text(text.replace('"embedding_dim": 8', '"embedding_dim": 100000000'))
    elif name == "model.keras":
        with zipfile.ZipFile(files / name) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.namelist():
                content = old.read(member)
                new.writestr(member, content.replace(b'_dim": 8', b'_dim": 100000000'))
    else:
        path.write_bytes((files / name).read_bytes())
        with h5py.File(path, "r+") as file:
            text = file.attrs["model_config"]
            file.attrs["model_config"] = text.replace('_dim": 8', '_dim": 100000000')
    said = refusal(gfkeras.load, path)
    assert "promise" in said
    # The refused model leaves nothing behind that the next model would build.
    gfkeras.load(files / "model.keras")


LOADS = """
import json
import sys
import keras
for config in json.loads(sys.argv[2]):
    print(repr(type(keras.saving.deserialize_keras_object(config)).__name__))
print(len(keras.saving.load_model(sys.argv[1]).layers))
"""


@pytest.mark.parametrize(
    "first",
    [
        "import sys, gfkeras; assert 'keras' not in sys.modules",
        pytest.param("import keras, gfkeras", marks=pytest.mark.slow),
        "from gfkeras.heads.arcface import ArcFace",
        pytest.param("import gfkeras; gfkeras.GroupFace", marks=pytest.mark.slow),
    ],
)
def test_keras_finds_our_classes_in_a_fresh_process(first, tmp_path):
    """Any import can come first. The test uses JAX, because its import is fast."""
    layer = gfkeras.layers.InputNormalization()
    keras.Sequential([keras.Input((16, 16, 3)), layer]).save(tmp_path / "model.keras")
    objects = (gfkeras.heads.ArcFace(3), gfkeras.losses.TripletLoss(), SGD(0.1), Warmup(0.1, 5))
    configs = json.dumps([keras.saving.serialize_keras_object(each) for each in objects])
    process = start_python(
        WITHOUT_TENSORFLOW + first + LOADS,
        str(tmp_path / "model.keras"),
        configs,
        KERAS_BACKEND="jax",
    )
    assert process.literals() == ["ArcFace", "TripletLoss", "SGD", "Warmup", 1]


def test_a_clone_says_that_it_loses_its_class(model):
    with pytest.warns(UserWarning, match=r"not a GroupFace.*GroupFace\.from_config"):
        clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(embed(clone), embed(model), atol=1e-6)
    assert type(gfkeras.GroupFace.from_config(model.get_config())) is gfkeras.GroupFace


def test_a_clone_of_a_classifier_keeps_its_class(model):
    training = gfkeras.FaceClassifier(model, gfkeras.heads.ArcFace(3))
    assert isinstance(keras.models.clone_model(training), gfkeras.FaceClassifier)
