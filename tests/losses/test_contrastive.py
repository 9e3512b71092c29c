"""The contrastive loss, against tensorflow-addons' formula in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED
from keras import ops

from gfkeras.losses import ContrastiveLoss


def oracle(labels, rows, margin=1.0, normalize=True):
    """Returns the mean over pairs of y·d² + (1 − y)·max(margin − d, 0)²."""
    if normalize:
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(norm == 0, 1, norm)
    costs = []
    for i, j in itertools.combinations(range(len(rows)), 2):
        d, y = np.linalg.norm(rows[i] - rows[j]), float(labels[i] == labels[j])
        costs.append(y * d**2 + (1 - y) * max(margin - d, 0) ** 2)
    return np.mean(costs) if costs else 0.0


def batch(seed=0, count=9):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, count).astype("int32"), rng.normal(size=(count, 3)).astype("float32")


@EAGER_AND_COMPILED
@pytest.mark.parametrize(
    ("margin", "normalize"), [(1.0, True), (1.7, True), (2.0, False), (0.0, False)]
)
def test_value_and_gradients(margin, normalize, compiled):
    labels, rows = batch()
    loss = ContrastiveLoss(margin, normalize, weight=2.0)
    value, (_, gradient) = value_and_gradients(loss, labels, rows, compiled=compiled)

    def expected(labels, rows):
        return 2 * oracle(labels, rows, margin, normalize)

    assert value == pytest.approx(expected(labels, rows.astype("float64")), rel=1e-5)
    _, right = finite_differences(expected, labels, rows)
    np.testing.assert_allclose(gradient, right, atol=1e-5)


@EAGER_AND_COMPILED
@pytest.mark.parametrize(
    ("labels", "rows", "gradient"),
    [
        ([0, 1, 2], np.eye(3), True),  # no positive, all beyond the margin
        ([3], np.ones((1, 3)), True),  # a batch of one
        ([1, 1, 1], np.eye(3), True),  # no negative
        ([0, 0, 1, 1], np.ones((4, 3)), False),  # equal rows of two identities
        ([0, 1], np.zeros((2, 3)), False),  # no direction
    ],
)
def test_edges(labels, rows, gradient, compiled):
    labels, rows = np.array(labels, "int32"), rows.astype("float32")
    value, (_, found) = value_and_gradients(ContrastiveLoss(), labels, rows, compiled=compiled)
    assert value == pytest.approx(oracle(labels, rows.astype("float64")), rel=1e-6, abs=1e-6)
    right = finite_differences(oracle, labels, rows)[1] if gradient else np.zeros_like(rows)
    np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    labels, rows = batch()
    half = ops.cast(rows, dtype)
    rounded = ops.convert_to_numpy(ops.cast(half, "float32")).astype("float64")
    assert float(ContrastiveLoss()(labels, half)) == pytest.approx(
        oracle(labels, rounded), rel=1e-5
    )


def test_nan_is_not_hidden_in_a_compiled_step():
    for count in (1, 3):
        rows = np.eye(3, dtype="float32")[:count]
        rows[0, 1] = np.nan
        labels = np.arange(count, dtype="int32")
        value, _ = value_and_gradients(ContrastiveLoss(), labels, rows, compiled=True)
        assert np.isnan(value)


def test_config():
    loss = ContrastiveLoss(1.5, normalize=False, weight=0.5, name="pairs")
    assert ContrastiveLoss.from_config(loss.get_config()).get_config() == loss.get_config()


def test_what_is_refused():
    labels, rows = batch()
    for margin in (-0.1, 2.1, float("nan")):
        with pytest.raises(ValueError, match=r"`margin` must.*Received: margin="):
            ContrastiveLoss(margin)
    assert ContrastiveLoss(2.1, normalize=False).margin == 2.1
    with pytest.raises(ValueError, match="one entry per embedding"):
        ContrastiveLoss()(labels[:-1], rows)
    with pytest.raises(ValueError, match="`labels` must be integers"):
        ContrastiveLoss()(labels.astype("float32"), rows)
