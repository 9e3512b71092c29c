"""Group-aware similarity against the formula, row by row in float64."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from gfkeras.inference import group_aware_similarity


def oracle(a, b, ga, gb, beta=0.1, gamma=1 / 3):
    scores = []
    for x, y, u, v in zip(a, b, ga, gb, strict=True):
        cosine = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
        distance = np.linalg.norm(u / np.linalg.norm(u) - v / np.linalg.norm(v))
        scores.append(cosine - beta * distance**gamma)
    return np.array(scores)


def rows(seed=0, count=6):
    rng = np.random.default_rng(seed)
    return [3 * rng.normal(size=(count, width)) for width in (16, 16, 8, 8)]


def test_formula():
    arguments = rows()
    found = group_aware_similarity(*arguments)
    assert np.asarray(found).dtype == np.float32
    np.testing.assert_allclose(found, oracle(*arguments), atol=1e-5)
    found = group_aware_similarity(*arguments, beta=0.3, gamma=0.5)
    np.testing.assert_allclose(found, oracle(*arguments, 0.3, 0.5), atol=1e-5)


def test_tensors_give_a_tensor():
    arguments = rows()
    tensors = [ops.convert_to_tensor(values, "float32") for values in arguments]
    found = group_aware_similarity(*tensors)
    assert ops.is_tensor(found)
    np.testing.assert_allclose(found, group_aware_similarity(*arguments), atol=1e-6)


def test_identical_rows_are_one():
    a, _, g, _ = rows()
    found = np.asarray(group_aware_similarity(a, a, g, g))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, 1, atol=1e-6)


def test_beta_zero_is_the_cosine():
    a, b, g, h = rows()
    found = group_aware_similarity(a, b, g, h, beta=0)
    np.testing.assert_allclose(found, group_aware_similarity(a, b, h, h), atol=1e-6)


def test_distances():
    a, b, g, h = rows()
    cosine = np.asarray(group_aware_similarity(a, b, g, h, beta=0))
    u, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (g, h))
    squared = ((u - v) ** 2).sum(axis=-1)
    for distance, expected in (
        ("l2", squared**0.5),
        ("squared-l2", squared),
        ("cosine", squared / 2),
        (lambda x, y: 0 * x[:, 0] + 8.0, np.full(6, 8.0)),
    ):
        found = group_aware_similarity(a, b, g, h, distance=distance)
        np.testing.assert_allclose(found, cosine - 0.1 * expected ** (1 / 3), atol=1e-5)


def test_zero_vectors_are_finite():
    zeros = np.zeros((2, 4))
    assert np.isfinite(np.asarray(group_aware_similarity(zeros, zeros, zeros, zeros))).all()


def test_wrong_arguments():
    a, b, g, h = rows()
    for arguments, message in [
        ((a, b[:3], g, h), "`embedding_a` and `embedding_b`"),
        ((a, b, g, h[:, :4]), "`group_a` and `group_b`"),
        ((a[0], b[0], g, h), "`embedding_a` and `embedding_b`"),
        ((a[:3], b[:3], g, h), "`group_a` and `group_b`"),
    ]:
        with pytest.raises(ValueError, match=message):
            group_aware_similarity(*arguments)
    with pytest.raises(ValueError, match="gamma"):
        group_aware_similarity(a, b, g, h, gamma=0)
    with pytest.raises(ValueError, match="did you mean"):
        group_aware_similarity(a, b, g, h, distance="L2")
