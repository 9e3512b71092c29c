"""Checks of the stored reference values: versions, sizes and the properties of their cases."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
PINNED = {
    "tensorflow_addons": {"tensorflow_addons": "0.23.0", "tensorflow": "2.15.1"},
    "torch": {"torch": "2.13.0"},
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def pairs_without_a_farther_negative(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns whether each pair of an identity has no farther negative, by L2 distance."""
    rows = embeddings.astype("float64")
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    same = labels[:, None] == labels
    farthest = np.where(same, -np.inf, distances).max(axis=1, keepdims=True)
    return (farthest <= distances)[same & ~np.eye(len(labels), dtype=bool)]


@pytest.mark.parametrize("name", PINNED)
def test_versions_are_those_pinned(name):
    versions = json.loads(str(load(name)["versions"]))
    assert PINNED[name].items() <= versions.items()
    assert {"python", "numpy", "seed"} <= versions.keys()
    pins = dict(
        re.findall(
            r'"([\w-]+)==([\d.]+)"', (HERE.parent / "support" / "own_environments.py").read_text()
        )
    )
    for package, version in PINNED[name].items():
        pinned = {pins.get(package.replace("_", "-")), pins.get(f"{package}-cpu")}
        assert version in pinned


@pytest.mark.parametrize("name", PINNED)
def test_file_is_small(name):
    assert (HERE / f"{name}.npz").stat().st_size < 200_000


@pytest.mark.parametrize("name", PINNED)
def test_not_a_number_only_where_the_readme_says(name):
    for key, values in load(name).items():
        if values.dtype.kind == "f":
            expected = np.isnan if key.startswith("no_positive/semihard/") else np.isfinite
            assert expected(values).all(), key


def test_inputs_are_float32_and_int32():
    for name in PINNED:
        for key, values in load(name).items():
            if key.endswith(("/embeddings", "/centers")) and "gradient" not in key:
                assert values.dtype == np.float32, key
            if key.endswith("/labels"):
                assert values.dtype == np.int32, key


@pytest.mark.parametrize(
    ("case", "without", "pairs"),
    [
        ("random", 8, 90),
        ("unit", 2, 72),
        ("clustered", 16, 60),
        ("collapsed", 9, 24),
        ("identical_rows", 2, 14),
        ("one_image_class", 0, 18),
        ("no_positive", 0, 0),
        ("no_negative", 30, 30),
    ],
)
def test_cases_hold_the_pairs_that_the_readme_counts(case, without, pairs):
    values = load("tensorflow_addons")
    missing = pairs_without_a_farther_negative(
        values[f"{case}/embeddings"], values[f"{case}/labels"]
    )
    assert (missing.sum(), missing.size) == (without, pairs)


def test_last_random_angles_are_past_every_threshold():
    values = load("torch")
    cosines = values["random/cosines"][np.arange(16), values["random/labels"]]
    assert (np.arccos(cosines[-4:]) + 0.3 > np.pi).all()
    assert (np.arccos(cosines[:-4]) + 0.5 < np.pi).all()
