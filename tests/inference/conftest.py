"""A small GroupFace, and its artefacts of each kind."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from gfkeras.layers import InputNormalization
from gfkeras.models import GroupFace

SIZE = 32
GROUPS, DIM = 5, 12


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """(10, 32, 32, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (10, 4, 4, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="session")
def model(images: np.ndarray) -> GroupFace:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((SIZE, SIZE, 3), name="images")
    x = InputNormalization()(inputs)
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(x)
    x = keras.layers.Flatten()(x)
    backbone = keras.Model(inputs, x, name="tiny")
    model = GroupFace(
        backbone, embedding_dim=DIM, num_groups=GROUPS, shared_dim=None, bn_momentum=0.0
    )
    model(images, training=True)
    return model


@pytest.fixture(scope="session")
def artefacts(model: GroupFace, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Paths by kind. "keras" is a model folder."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("artefacts are exported with KERAS_BACKEND=tensorflow")
    for package in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package)
    from gfkeras.export import export_model

    folder = tmp_path_factory.mktemp("artefacts")
    return {
        "keras": model.save_to(folder / "model"),
        "savedmodel": export_model(model, folder / "saved", "savedmodel"),
        "tflite": export_model(model, folder / "model.tflite", "tflite"),
        "fixed": export_model(model, folder / "fixed.tflite", "tflite", batch_size=4),
        "onnx": export_model(model, folder / "model.onnx", "onnx"),
    }
