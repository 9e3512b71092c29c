"""Small data and a small grid that several test files use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_networks import SMALL_BACKBONE


@pytest.fixture(scope="session")
def people_folder(tmp_path_factory) -> Path:
    """Seven coloured people with four noisy images each, similar enough for mistakes."""
    root = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    for person in range(7):
        (root / f"p{person}").mkdir()
        colour = rng.integers(60, 196, 3)
        for index in range(4):
            shade = np.clip(colour + rng.integers(-45, 46, 3), 40, 215)
            pixels = (shade + rng.integers(-40, 41, (112, 112, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"p{person}" / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def ablation_tables() -> dict:
    """Two trainings of two steps, and rows that are scored on the second."""
    return {
        "title": "Tiny",
        "seeds": [0, 1],
        "recipe": {
            "data": {"holdout_identities": 3, "flip": False},
            "model": {
                "embedding_dim": 16, "num_groups": 3, "group_dim": 16, "shared_dim": "none",
                "backbone": SMALL_BACKBONE,
            },
            "head": {"name": "ArcFace", "scale": 16.0},
            "loss": [{"name": "SelfGroupingLoss"}],
            "training": {"epochs": 1, "batch_size": 8, "checkpoint_steps": 1},
            "evaluation": {"pairs": 20},
        },
        "row": [
            {"name": "plain", "groups": "none"},
            {"name": "soft"},
            {"name": "soft to hard", "mode": "soft-to-hard"},
            {"name": "instance", "representation": "instance"},
            {"name": "group-aware", "similarity": "group-aware"},
        ],
    }  # fmt: skip
