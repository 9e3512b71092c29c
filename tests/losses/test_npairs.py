"""The N-pairs loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, slow_on_jax
from keras import ops

from gfkeras.losses import NPairsLoss

ORACLES = Path(__file__).parents[1] / "oracles" / "tensorflow_addons.npz"


def oracle(labels, anchors, positives=None, l2_weight=0.0):
    itself = positives is None
    other = anchors if itself else positives
    costs = []
    for i, x in enumerate(anchors):
        others = [j for j in range(len(other)) if not (itself and i == j)]
        mine = [j for j in others if labels[j] == labels[i]]
        if not mine:
            continue
        logits = np.array([x @ other[j] for j in others])
        total = logits.max() + np.log(np.exp(logits - logits.max()).sum())
        costs.append(np.mean([total - x @ other[j] for j in mine]))
    embeddings = anchors if itself else np.concatenate([anchors, positives])
    return (np.mean(costs) if costs else 0.0) + l2_weight * (embeddings**2).sum(1).mean()


def batch(seed=0, count=8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count).astype("int32")
    return labels, *rng.normal(size=(2, count, 3)).astype("float32")


@EAGER_AND_COMPILED
@pytest.mark.parametrize("l2_weight", [0.0, 0.1])
@pytest.mark.parametrize("two", [True, False], ids=["pairs", "one batch"])
def test_value_and_gradients(two, l2_weight, compiled):
    arguments = batch()[: 3 if two else 2]
    loss = NPairsLoss(weight=2.0, l2_weight=l2_weight)
    value, gradients = value_and_gradients(loss, *arguments, compiled=compiled)

    def expected(labels, *embeddings):
        return 2 * oracle(labels, *embeddings, l2_weight=l2_weight)

    double = [arguments[0], *(a.astype("float64") for a in arguments[1:])]
    assert value == pytest.approx(expected(*double), rel=1e-5)
    for found, right in zip(gradients, finite_differences(expected, *arguments), strict=True):
        if right is not None:
            np.testing.assert_allclose(found, right, atol=1e-5)


@slow_on_jax
@pytest.mark.parametrize("case", ["distinct", "repeated"])
def test_agrees_with_tensorflow_addons(case):
    oracles = np.load(ORACLES)
    arguments = (
        oracles[f"npairs/{case}/labels"],
        oracles["npairs/anchors"],
        oracles["npairs/positives"],
    )
    value, (_, anchors, positives) = value_and_gradients(NPairsLoss(), *arguments)
    np.testing.assert_allclose(value, oracles[f"npairs/{case}/loss"], rtol=1e-5, atol=1e-5)
    for found, name in ((anchors, "anchors"), (positives, "positives")):
        np.testing.assert_allclose(
            found, oracles[f"npairs/{case}/gradient/{name}"], rtol=1e-5, atol=1e-5
        )


@EAGER_AND_COMPILED
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([0, 1, 2], np.eye(3)),  # no positive
        ([3], np.ones((1, 3))),  # a batch of one
        ([1, 1, 1], np.ones((3, 3))),  # no negative, identical rows
        ([0, 0, 1], np.ones((3, 3))),  # a class with one image
        ([0, 0, 1, 1], np.zeros((4, 3))),
        ([0, 0, 1, 1], 100 * np.eye(4)),
    ],
)
def test_edges(labels, rows, compiled):
    labels, rows = np.array(labels, "int32"), rows.astype("float32")
    value, (_, gradient) = value_and_gradients(NPairsLoss(), labels, rows, compiled=compiled)
    assert value == pytest.approx(oracle(labels, rows.astype("float64")), rel=1e-6, abs=1e-6)
    right = finite_differences(lambda x, y: oracle(x, y), labels, rows)[1]
    np.testing.assert_allclose(gradient, right, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    labels, anchors, positives = batch()
    half = [ops.cast(a, dtype) for a in (anchors, positives)]
    rounded = [ops.convert_to_numpy(ops.cast(a, "float32")).astype("float64") for a in half]
    value = NPairsLoss()(labels, *half)
    assert float(value) == pytest.approx(oracle(labels, *rounded), rel=1e-5)


def test_nan_is_not_hidden_in_a_compiled_step():
    rows = np.eye(3, dtype="float32")
    rows[1, 1] = np.nan
    value, _ = value_and_gradients(NPairsLoss(), np.array([0, 1, 2], "int32"), rows, compiled=True)
    assert np.isnan(value)


def test_config():
    loss = NPairsLoss(weight=0.5, l2_weight=0.1, name="n_pairs")
    assert NPairsLoss.from_config(loss.get_config()).get_config() == loss.get_config()


def test_what_is_refused():
    labels, anchors, positives = batch()
    with pytest.raises(ValueError, match=r"`l2_weight`.*Received: l2_weight=-1"):
        NPairsLoss(l2_weight=-1)
    with pytest.raises(ValueError, match="`positives` must have the shape of the anchors"):
        NPairsLoss()(labels, anchors, positives[:, :2])
    with pytest.raises(ValueError, match="one entry per embedding"):
        NPairsLoss()(labels[:-1], anchors)
    with pytest.raises(ValueError, match="`labels` must be integers"):
        NPairsLoss()(labels.astype("float32"), anchors)
