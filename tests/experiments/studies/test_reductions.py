"""Embeddings of fewer dimensions and fewer bits."""

from __future__ import annotations

import numpy as np
import pytest

from gfkeras.experiments.studies import principal_directions, quantize


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    # Longest along the last axis, then along the first, and with a mean other than zero.
    return rng.standard_normal((400, 4)) * [2.0, 0.5, 1.0, 3.0] + [0.5, 0, 0, 1]


def test_principal_directions_rotate(rows):
    directions = principal_directions(rows)
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-12)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(
        (unit @ directions) @ (unit @ directions).T, unit @ unit.T, atol=1e-6
    )
    shares = np.square(unit @ directions).mean(0)
    assert (np.diff(shares) < 0).all()
    # The oracle: right singular vectors, whose sign is free.
    expected = np.linalg.svd(unit, full_matrices=False)[2].T
    np.testing.assert_allclose(np.abs(np.sum(directions * expected, axis=0)), 1, atol=1e-6)


def test_too_few_faces_are_refused(rows):
    with pytest.raises(ValueError, match="at least as many faces as dimensions, 4"):
        principal_directions(rows[:3])


def test_quantized_numbers(rows):
    found = quantize([[0.5, -1.0, 0.126], [0, 0, 0]], bits=8)
    np.testing.assert_array_equal(found, [[64, -127, 16], [0, 0, 0]])
    np.testing.assert_array_equal(quantize([[0.5, -1.0, 0.0]], bits=1), [[1, -1, 1]])
    np.testing.assert_array_equal(quantize([[0.6, -1.0, 0.4]], bits=2), [[1, -1, 0]])
    for bits in range(2, 17):
        levels = 2 ** (bits - 1) - 1
        found = quantize(rows, bits).astype(np.int64)
        assert np.abs(found).max() == levels
        # No number is off by more than half a level.
        largest = np.abs(rows).max(axis=1, keepdims=True)
        assert np.abs(found - rows / largest * levels).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("bits", [0, 17, 2.5, True])
def test_bits_out_of_range_are_refused(bits, rows):
    with pytest.raises(ValueError, match="`bits` must be"):
        quantize(rows, bits)
