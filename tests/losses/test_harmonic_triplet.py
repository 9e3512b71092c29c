"""Triplets of a new and an old network."""

from __future__ import annotations

import numpy as np
import pytest
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, few_on_jax, slow_on_jax
from triplets import triplet_loss

from gfkeras.losses import HarmonicTripletLoss, TripletLoss

RULES = {
    "semi-hard": {"margin": 0.5},
    "batch hard": {"mining": "hard", "positives": "hardest"},
    "hardest positive, easiest negative": {
        "margin": 1.0,
        "positives": "hardest",
        "no_semi_hard": "easiest",
        "distance": "l2",
        "normalize": False,
    },
    "all": {"mining": "all", "distance": "l2"},
    "soft": {"mining": "hard", "soft": True, "distance": "angular"},
}


def batch(count=9, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count).astype("int32")
    new = rng.normal(size=(count, 4)).astype("float32")
    old = (new + 0.6 * rng.normal(size=new.shape)).astype("float32")
    return labels, new, old


def oracle(labels, new, old, **rule):
    count = len(labels)
    return triplet_loss(
        np.concatenate([labels, labels]),
        np.concatenate([new, old]),
        allowed=lambda *triplet: min(triplet) < count,
        **rule,
    )


@EAGER_AND_COMPILED
@pytest.mark.parametrize("rule", few_on_jax(RULES, "semi-hard", "all"))
def test_value_and_gradients(rule, compiled):
    arguments = batch()
    loss = HarmonicTripletLoss(weight=2.0, **RULES[rule])
    value, (_, new, old) = value_and_gradients(loss, *arguments, compiled=compiled)
    assert value == pytest.approx(2 * oracle(*arguments, **RULES[rule]), rel=2e-6)
    right = finite_differences(lambda *a: 2 * oracle(*a, **RULES[rule]), *arguments)
    np.testing.assert_allclose(new, right[1], rtol=1e-4, atol=1e-5)
    assert (old == 0).all()
    assert np.abs(right[2]).max() > 0.01


@slow_on_jax
def test_old_triplets_alone_are_left_out():
    # The new rows have no cost among themselves. The positives of old rows are far apart.
    labels = np.array([0, 0, 1], "int32")
    new = np.array([[0.0], [0.0], [50.0]], "float32")
    old = np.array([[-9.0], [9.0], [0.0]], "float32")
    arguments = {"margin": 0.0, "mining": "all", "distance": "l2", "normalize": False}
    union = TripletLoss(**arguments)
    both = float(union(np.tile(labels, 2), np.concatenate([new, old])))
    value = float(HarmonicTripletLoss(**arguments)(labels, new, old))
    assert value == pytest.approx(oracle(labels, new, old, **arguments), rel=1e-6)
    assert value != pytest.approx(both, rel=1e-3)


def test_equal_networks_give_no_nan():
    labels, new, _ = batch()
    for positives in ("all", "hardest"):
        loss = HarmonicTripletLoss(mining="hard", positives=positives)
        value, (_, gradient, _) = value_and_gradients(loss, labels, new, new)
        right = oracle(labels, new, new, mining="hard", positives=positives)
        assert value == pytest.approx(right, rel=1e-5)
        assert np.isfinite(gradient).all()


def test_an_image_alone_has_its_old_embedding_as_positive():
    labels = np.array([0, 1], "int32")
    new = np.array([[0.0], [1.0]], "float32")
    old = np.array([[3.0], [1.0]], "float32")
    loss = HarmonicTripletLoss(mining="hard", distance="l2", normalize=False)
    value = float(loss(labels, new, old))
    # Pair (new 0, old 3): the nearest negative is at 1. Pair (old 3, new 0): the nearest is at 1
    # too. The pairs of new 1 and old 1 have the distance 0 and cost nothing.
    assert value == pytest.approx((3 - 1 + 0.2 + 3 - 2 + 0.2) / 4)


def test_config_and_inputs():
    loss = HarmonicTripletLoss(0.5, positives="hardest", weight=3)
    assert HarmonicTripletLoss.from_config(loss.get_config()).get_config() == loss.get_config()
    assert loss.inputs == ("labels", "embedding", "teacher_embedding")


def test_what_is_refused():
    labels, new, old = batch()
    with pytest.raises(ValueError, match="`teacher_embeddings` must have the shape of"):
        HarmonicTripletLoss()(labels, new, old[:, :2])
    with pytest.raises(ValueError, match="`teacher_embeddings` must have the shape of"):
        HarmonicTripletLoss()(labels, new, old[:3])
    old[0, 0] = np.nan
    with pytest.raises(ValueError, match="`teacher_embeddings` must be finite"):
        HarmonicTripletLoss()(labels, new, old)
