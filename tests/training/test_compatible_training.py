"""Training of a new network for an old gallery: harmonic triplets and distillation."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
from pooled_network import Pooled

import gfkeras
from gfkeras.training import Recipe, train

pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist")


def embed(model, faces) -> np.ndarray:
    outputs = model(faces.images.astype(np.float32))
    embedding = np.asarray(keras.ops.convert_to_numpy(outputs["embedding"]))
    return embedding / np.linalg.norm(embedding, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> str:
    """Writes an old network with random weights."""
    folder = tmp_path_factory.mktemp("old") / "model"
    Pooled(8, seed=7).save_to(folder)
    return str(folder)


def recipe(old: str, loss: dict, dim: int = 8) -> Recipe:
    return Recipe.parse({
        "data": {"flip": False},
        "model": {"name": "Backbone", "embedding_dim": dim},
        "head": {"name": "none"},
        "loss": [loss],
        "teacher": {"model": old},
        "optimizer": {"name": "AdamW", "learning_rate": 0.01},
        "training": {"epochs": 12, "batch_size": 24},
    })  # fmt: skip


def test_harmonic_training_makes_new_faces_comparable_with_old(old, tiny_faces, tmp_path, pooled):
    wanted = recipe(old, {"name": "HarmonicTripletLoss", "mining": "hard"})
    result = train(wanted, tiny_faces, tmp_path / "run", verbose=0)
    with (tmp_path / "run" / "log.csv").open() as file:
        losses = [float(row["harmonic_triplet_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.4 * losses[0]
    scores = embed(gfkeras.load(result.last), tiny_faces) @ embed(gfkeras.load(old), tiny_faces).T
    same = tiny_faces.labels[:, None] == tiny_faces.labels[None]
    # For independent networks, both means would be near zero.
    assert scores[same].mean() > scores[~same].mean() + 0.15


@pytest.mark.parametrize("loss", ["HarmonicTripletLoss", "CosineDistillationLoss"])
def test_an_old_network_of_another_length_is_refused(loss, old, tiny_faces, tmp_path, pooled):
    with pytest.raises(ValueError, match=rf"with 16 numbers, .* for {loss}\. .* teacher with 8"):
        train(recipe(old, {"name": loss}, dim=16), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
