"""A new network for an old gallery, from a recipe: harmonic triplets and distillation."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.training import Recipe, train

BACKBONE = {"width": 0.0625, "bottlenecks": SMALL_BOTTLENECKS}


def embed(model, faces) -> np.ndarray:
    embedding = np.asarray(keras.ops.convert_to_numpy(model(faces.images.astype(np.float32))))
    return embedding / np.linalg.norm(embedding, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def old(tiny_faces, tmp_path_factory) -> str:
    """An old network with random weights, whose last statistics make people lie apart."""
    keras.utils.set_random_seed(7)
    network = gfkeras.backbones.MobileFaceNet(embedding_dim=8, **BACKBONE)
    last = network.get_layer("embedding_bn")
    found = keras.ops.convert_to_numpy(network(tiny_faces.images.astype(np.float32)))
    # As they would be after training: zero mean and variance one for each number.
    last.moving_mean.assign(found.mean(0) * np.sqrt(1 + last.epsilon))
    last.moving_variance.assign(found.var(0))
    folder = tmp_path_factory.mktemp("old") / "model"
    network.save_to(folder)
    return str(folder)


def recipe(old: str, loss: dict, dim: int = 8) -> Recipe:
    return Recipe.parse({
        "data": {"flip": False},
        "model": {
            "name": "Backbone",
            "embedding_dim": dim,
            "backbone": {"name": "MobileFaceNet", **BACKBONE},
        },
        "head": {"name": "none"},
        "loss": [loss],
        "teacher": {"model": old},
        "optimizer": {"name": "AdamW", "learning_rate": 0.01},
        "training": {"epochs": 12, "batch_size": 24},
    })  # fmt: skip


def test_harmonic_training_makes_new_faces_comparable_with_old(old, tiny_faces, tmp_path):
    wanted = recipe(old, {"name": "HarmonicTripletLoss", "mining": "hard"})
    result = train(wanted, tiny_faces, tmp_path / "run", verbose=0)
    with (tmp_path / "run" / "log.csv").open() as file:
        losses = [float(row["harmonic_triplet_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.4 * losses[0]
    scores = embed(gfkeras.load(result.last), tiny_faces) @ embed(gfkeras.load(old), tiny_faces).T
    same = tiny_faces.labels[:, None] == tiny_faces.labels[None]
    # Of independent networks both means would be near zero, whatever the sign.
    assert scores[same].mean() > scores[~same].mean() + 0.15


@pytest.mark.parametrize("loss", ["HarmonicTripletLoss", "CosineDistillationLoss"])
def test_an_old_network_of_another_length_is_refused(loss, old, tiny_faces, tmp_path):
    with pytest.raises(ValueError, match=rf"model's 16 numbers for {loss}\. .* teacher with 8"):
        train(recipe(old, {"name": loss}, dim=16), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
