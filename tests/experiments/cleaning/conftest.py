"""People as flat colours, and a classifier that knows the angle of each colour."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from coloured_people import IMAGES, PEOPLE, colour
from PIL import Image
from small_networks import SMALL_BACKBONE

from gfkeras.heads import SubCenterArcFace
from gfkeras.models import FaceClassifier
from gfkeras.training import Recipe


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for person, angles in IMAGES.items():
        (root / person).mkdir(parents=True)
        for number, degrees in enumerate(angles):
            Image.fromarray(colour(degrees)).save(root / person / f"{number}.png")
    return root


@pytest.fixture
def planted():
    """The embedding is the mean colour minus grey. Each identity has three planted centers."""
    inputs = keras.Input((112, 112, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Rescaling(1.0, -128.0)(means))
    classifier = FaceClassifier(model, SubCenterArcFace(len(PEOPLE), sub_centers=3))
    centers = np.zeros((len(PEOPLE), 3, 3), np.float32)
    for label, degrees in enumerate(PEOPLE.values()):
        turns = np.radians([degrees + 180, degrees, degrees + 90])
        centers[label, :, 0], centers[label, :, 1] = np.cos(turns), np.sin(turns)
    classifier.head.centers.assign(0.01 * centers)
    return classifier


@pytest.fixture
def tables() -> dict:
    return {
        "model": {"name": "Backbone", "embedding_dim": 16, "backbone": SMALL_BACKBONE},
        "head": {"name": "SubCenterArcFace", "scale": 16.0, "margin": 0.1},
        "optimizer": {"name": "AdamW", "learning_rate": 0.002},
        "training": {"epochs": 1, "batch_size": 4},
    }


@pytest.fixture
def planted_run(tmp_path, planted, tables, monkeypatch):
    """The folder of a run whose classifier is the planted one."""
    from gfkeras.experiments.cleaning import cleaning

    run = tmp_path / "run"
    run.mkdir()
    Recipe.parse(tables).write(run / "recipe.toml")
    monkeypatch.setattr(cleaning, "load_classifier", lambda _: (planted, list(PEOPLE)))
    return run
