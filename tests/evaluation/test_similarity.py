"""Similarities for evaluation and search, compared with float64 and the Keras function."""

import numpy as np
import pytest

from gfkeras.evaluation.similarity import COSINE, DISTANCES, GROUP_AWARE, Similarity
from gfkeras.inference import group_aware_similarity

rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 40, 24)) * 3
g, h = rng.standard_normal((2, 40, 8))


def oracle(a, b, g, h, beta, gamma, distance):
    a, b, g, h = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b, g, h))
    apart = {
        "l2": np.linalg.norm(g - h, axis=1),
        "squared-l2": np.sum((g - h) ** 2, axis=1),
        "cosine": 1 - np.sum(g * h, axis=1),
    }[distance]
    return np.sum(a * b, axis=1) - beta * apart**gamma


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_the_formula_and_the_keras_function(distance):
    similarity = Similarity(0.3, 0.5, distance)
    expected = oracle(a, b, g, h, 0.3, 0.5, distance)
    np.testing.assert_allclose(similarity(a, b, g, h), expected, atol=1e-6)
    keras = group_aware_similarity(a, b, g, h, 0.3, 0.5, distance)
    np.testing.assert_allclose(similarity(a, b, g, h), np.asarray(keras), atol=1e-6)
    rows = similarity.matrix(a, b, g, h)
    assert rows.shape == (40, 40)
    np.testing.assert_allclose(np.diag(rows), expected, atol=1e-5)


def test_the_cosine_needs_no_groups():
    expected = oracle(a, b, g, h, 0, 1, "l2")
    np.testing.assert_allclose(COSINE(a, b, None, None), expected, atol=1e-6)
    np.testing.assert_allclose(np.diag(COSINE.matrix(a, b, None, None)), expected, atol=1e-6)
    assert not COSINE.group_aware
    with pytest.raises(ValueError, match="needs group features"):
        GROUP_AWARE(a, b, g, None)
    with pytest.raises(ValueError, match="needs group features"):
        GROUP_AWARE.matrix(a, b, None, h)


def test_never_above_the_cosine_and_equal_for_equal_groups():
    assert (GROUP_AWARE(a, b, g, h) <= COSINE(a, b, None, None)).all()
    np.testing.assert_array_equal(GROUP_AWARE(a, b, g, g), COSINE(a, b, None, None))


def test_equal_groups_cost_next_to_nothing_by_matrix_products():
    many, groups = rng.standard_normal((300, 8)), rng.standard_normal((300, 256))
    lost = COSINE.matrix(many, many, None, None) - GROUP_AWARE.matrix(many, many, groups, groups)
    assert np.diag(lost).max() < 5e-4


def test_a_zero_embedding_has_no_direction():
    zeros = np.zeros((2, 4))
    assert COSINE(zeros, np.ones((2, 4)), None, None).tolist() == [0, 0]
    assert np.isfinite(GROUP_AWARE(zeros, zeros, zeros, zeros)).all()
    assert np.isfinite(GROUP_AWARE.matrix(zeros, zeros, zeros, zeros)).all()


@pytest.mark.parametrize("arguments", [{"beta": -0.1}, {"gamma": 0}, {"distance": "L2"}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Similarity(**arguments)
