"""A network and a data set for training in seconds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from small_networks import SMALL_BACKBONE

from gfkeras.data import Faces


@pytest.fixture(scope="session")
def tiny_faces() -> Faces:
    """24 noisy images of 6 people, each with one colour."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 4)
    colours = rng.integers(40, 216, (6, 1, 1, 3))
    noise = rng.integers(-30, 31, (24, 112, 112, 3))
    return Faces((colours[labels] + noise).astype(np.uint8), labels)


@pytest.fixture(scope="session")
def recipe_tables() -> dict:
    """A recipe as nested tables. With dropout, it also depends on random states."""
    return {
        "seed": 3,
        "data": {"holdout_identities": 2, "shift": 4},
        "model": {
            "embedding_dim": 16,
            "num_groups": 2,
            "group_dim": 16,
            "shared_dim": 32,
            "dropout": 0.2,
            "backbone": SMALL_BACKBONE,
        },
        "head": {"name": "ArcFace", "scale": 16.0, "margin": 0.1},
        "loss": [{"name": "SelfGroupingLoss", "expectation": "ema"}],
        "optimizer": {"name": "AdamW", "learning_rate": 0.002},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "training": {"epochs": 3, "batch_size": 8},
    }


@pytest.fixture
def tiny_recipe(recipe_tables) -> dict:
    """A copy of the recipe that the test can change."""
    return copy.deepcopy(recipe_tables)
