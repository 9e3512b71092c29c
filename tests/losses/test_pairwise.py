"""Distances of all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import triplets
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import slow_on_jax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from gfkeras.losses import pairwise_distance

ORACLES = Path(__file__).parents[1] / "oracles" / "tensorflow_addons.npz"
DISTANCES = ("squared-l2", "l2", "angular")


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("distance", DISTANCES)
def test_value_and_gradient(distance, normalize, compiled):
    embeddings = rows(7, 4)
    upstream = np.random.default_rng(1).normal(size=(7, 7))

    def oracle(e):
        d = triplets.distances(e, distance, normalize)
        return float((upstream * np.where(np.eye(7), 0, d)).sum())

    def loss(e):
        return ops.sum(pairwise_distance(e, distance, normalize) * upstream.astype("float32"))

    expected = triplets.distances(embeddings, distance, normalize)
    found = ops.convert_to_numpy(pairwise_distance(embeddings, distance, normalize))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert (np.diag(found) == 0).all()
    value, (gradient,) = value_and_gradients(loss, embeddings, compiled=compiled)
    assert value == pytest.approx(oracle(embeddings), abs=2e-5)
    np.testing.assert_allclose(gradient, finite_differences(oracle, embeddings)[0], atol=2e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("distance", DISTANCES)
def test_two_batches(distance, normalize):
    a, b = rows(3, 5), rows(4, 5, seed=1)
    expected = triplets.distances(np.concatenate([a, b]), distance, normalize)[:3, 3:]
    found = ops.convert_to_numpy(pairwise_distance(a, distance, normalize, other=b))
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("edge", ["equal", "zero", "opposite"])
def test_edges_have_finite_gradients(distance, edge):
    embeddings = np.ones((3, 4), "float32")
    embeddings[1] *= {"equal": 1, "zero": 0, "opposite": -1}[edge]
    for normalize in (True, False):
        value, (gradient,) = value_and_gradients(
            lambda e, n=normalize: ops.sum(pairwise_distance(e, distance, n)), embeddings
        )
        if edge != "zero" or distance != "angular":
            expected = triplets.distances(embeddings, distance, normalize).sum()
            assert value == pytest.approx(expected, abs=1e-6)
        assert np.isfinite(gradient).all()
        if edge == "equal":
            np.testing.assert_allclose(gradient, 0, atol=1e-6)


@slow_on_jax
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_angles_and_normalised_distances_ignore_scale(seed):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(5, 3)).astype("float32")
    scaled = embeddings * rng.uniform(0.1, 10, size=(5, 1)).astype("float32")
    for distance in DISTANCES:
        a, b = (ops.convert_to_numpy(pairwise_distance(e, distance)) for e in (embeddings, scaled))
        np.testing.assert_allclose(a, b, atol=2e-3)
        np.testing.assert_allclose(a, a.T, atol=2e-3)


def test_half_precision_is_computed_in_float32():
    embeddings = rows(5, 6)
    half = ops.cast(embeddings, "bfloat16")
    expected = triplets.distances(ops.convert_to_numpy(ops.cast(half, "float32")), "l2", False)
    found = pairwise_distance(half, "l2", normalize=False)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=2e-6)


@slow_on_jax
@pytest.mark.parametrize("case", ["identical_rows", "one_image_class", "collapsed"])
@pytest.mark.parametrize(("distance", "theirs"), [("l2", "L2"), ("squared-l2", "squared-L2")])
def test_agrees_with_tensorflow_addons(case, distance, theirs):
    oracles = np.load(ORACLES)
    found = pairwise_distance(oracles[f"{case}/embeddings"], distance, normalize=False)
    # The square roots of small distances show rounding errors (see tests/oracles/README.md).
    tolerance = 5e-5 if case == "collapsed" else 1e-5
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), oracles[f"{case}/pairwise/{theirs}"], atol=tolerance
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match="`distance` must be one of"):
        pairwise_distance(rows(2, 2), "cosine")
    with pytest.raises(ValueError, match="`other` must have as many dimensions"):
        pairwise_distance(rows(2, 2), other=rows(2, 3))
    with pytest.raises(ValueError, match="`embeddings` must have the shape"):
        pairwise_distance(rows(2))


def test_nan_is_not_hidden_in_a_compiled_step():
    embeddings = rows(3, 4)
    embeddings[1, 2] = np.nan
    for distance in DISTANCES:
        value, _ = value_and_gradients(
            lambda e, d=distance: ops.sum(pairwise_distance(e, d)), embeddings, compiled=True
        )
        assert np.isnan(value)
