"""Self-distributed labels and the self-grouping loss."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from processes import run_python

import gfkeras
from gfkeras.losses import (
    SelfGroupingLoss,
    log_prior_labels,
    naive_labels,
    softmax_cross_entropy,
)

# The worked example of the paper's figure 3.
EXAMPLE = np.array(
    [
        [0.10, 0.20, 0.40, 0.30],
        [0.20, 0.25, 0.20, 0.35],
        [0.20, 0.20, 0.10, 0.50],
        [0.20, 0.30, 0.10, 0.40],
        [0.10, 0.50, 0.30, 0.10],
    ]
)


def test_the_papers_worked_example():
    expectation = EXAMPLE.mean(axis=0)
    np.testing.assert_allclose(expectation, [0.16, 0.29, 0.22, 0.33])
    np.testing.assert_array_equal(ops.convert_to_numpy(naive_labels(EXAMPLE)), [2, 3, 3, 3, 1])
    for given_expectation in (None, expectation):
        labels = ops.convert_to_numpy(gfkeras.self_distributed_labels(EXAMPLE, given_expectation))
        np.testing.assert_array_equal(labels, [2, 0, 3, 3, 1])
        assert labels.dtype == np.int32


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_labels_are_those_of_the_printed_formula(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(6), size=9)
    printed = (p - p.mean(axis=0)) / 6 + 1 / 6
    np.testing.assert_array_equal(
        ops.convert_to_numpy(gfkeras.self_distributed_labels(p)), printed.argmax(axis=1)
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_log_prior_labels_are_those_of_the_formula(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(6), size=9)
    for expectation in (None, rng.dirichlet(np.ones(6))):
        prior = p.mean(axis=0) if expectation is None else expectation
        labels = ops.convert_to_numpy(log_prior_labels(p, expectation))
        np.testing.assert_array_equal(labels, (np.log(p) - np.log(prior)).argmax(axis=1))
        assert labels.dtype == np.int32


def test_log_prior_labels_reach_a_rare_group():
    # Group 2 has 3 % of the probability. Its share doubles for the last face.
    p = np.array([[0.60, 0.38, 0.02], [0.30, 0.68, 0.02], [0.55, 0.39, 0.06]])
    assert ops.convert_to_numpy(gfkeras.self_distributed_labels(p)).tolist() == [0, 1, 0]
    assert ops.convert_to_numpy(log_prior_labels(p)).tolist() == [0, 1, 2]
    # A group that nobody has does not win by 0 / 0.
    p = np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0]])
    assert ops.convert_to_numpy(log_prior_labels(p)).tolist() == [0, 1]


@pytest.mark.parametrize("expectation", ["batch", "ema"])
def test_loss_with_log_prior_labels(expectation):
    logits = np.log(EXAMPLE).astype("float32")
    loss = SelfGroupingLoss(0.5, labeling="log-prior", expectation=expectation, momentum=0.0)
    labels = (np.log(EXAMPLE) - np.log(EXAMPLE.mean(axis=0))).argmax(axis=1)
    expected = -np.mean([np.log(row[label]) for row, label in zip(EXAMPLE, labels, strict=True)])
    assert float(loss(logits, training=True)) == pytest.approx(0.5 * expected, rel=1e-5)
    again = SelfGroupingLoss.from_config(loss.get_config())
    assert again.labeling == "log-prior"


def test_one_dimensional_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, groups\)"):
        gfkeras.self_distributed_labels(np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"\(batch, groups\)"):
        log_prior_labels(np.array([0.5, 0.5]))


def test_loss_is_weighted_cross_entropy_with_the_labels():
    logits = np.log(EXAMPLE).astype("float32")
    labels = [2, 0, 3, 3, 1]
    expected = -np.mean([np.log(EXAMPLE[i, k]) for i, k in enumerate(labels)])
    assert float(SelfGroupingLoss(weight=0.1)(logits)) == pytest.approx(0.1 * expected, rel=1e-5)
    naive = -np.mean([np.log(row.max()) for row in EXAMPLE])
    loss = SelfGroupingLoss(weight=2.0, labeling="naive")(logits)
    assert float(loss) == pytest.approx(2 * naive, rel=1e-5)


def test_moving_average_follows_the_batches_in_training_only():
    loss = SelfGroupingLoss(expectation="ema", momentum=0.75)
    logits = np.log(EXAMPLE).astype("float32")
    loss(logits, training=False)
    np.testing.assert_allclose(ops.convert_to_numpy(loss.moving_expectation), 0.25)
    expected = np.full(4, 0.25)
    for _ in range(3):
        loss(logits, training=True)
        expected = 0.75 * expected + 0.25 * EXAMPLE.mean(axis=0)
        np.testing.assert_allclose(
            ops.convert_to_numpy(loss.moving_expectation), expected, rtol=1e-5
        )


def test_moving_average_changes_the_labels():
    # With a uniform expectation, the labels equal the naive ones.
    loss = SelfGroupingLoss(weight=1.0, expectation="ema", momentum=0.999)
    logits = np.log(EXAMPLE).astype("float32")
    naive = SelfGroupingLoss(weight=1.0, labeling="naive")(logits)
    assert float(loss(logits, training=True)) == pytest.approx(float(naive), rel=1e-6)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from gfkeras.layers import num_replicas
from gfkeras.losses import SelfGroupingLoss

probabilities = np.array(eval(sys.argv[1]), "float32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    loss = SelfGroupingLoss(weight=1.0, expectation="ema", momentum=0.0)
    loss.build((None, probabilities.shape[1]))
halves = strategy.experimental_distribute_values_from_function(
    lambda replica: tf.constant(
        np.log(np.split(probabilities, 2)[replica.replica_id_in_sync_group])
    )
)

@tf.function
def step(batch):
    return loss(batch, training=True), num_replicas()

values, count = strategy.run(step, args=(halves,))
assert {int(c) for c in strategy.experimental_local_results(count)} == {2}
print([float(v) for v in strategy.experimental_local_results(values)])
print([float(v) for v in loss.moving_expectation.numpy()])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
def test_expectation_is_over_the_global_batch():
    """Two replicas need a separate process, because a device is split before TensorFlow starts."""
    batch = EXAMPLE[[0, 1, 3, 4]]
    losses, expectation = run_python(TWO_REPLICAS, repr(batch.tolist()), two_cpus=True)
    np.testing.assert_allclose(expectation, batch.mean(axis=0), rtol=1e-6)
    labels = (batch - batch.mean(axis=0)).argmax(axis=1)
    each = [-np.log(row[label]) for row, label in zip(batch, labels, strict=True)]
    np.testing.assert_allclose(losses, [np.mean(each[:2]), np.mean(each[2:])], rtol=1e-5)
    # With the expectation of each half, the labels would differ. So this test can fail.
    own = [(h - h.mean(axis=0)).argmax(axis=1) for h in np.split(batch, 2)]
    assert np.concatenate(own).tolist() != labels.tolist()


def test_cross_entropy_is_nan_for_a_label_that_is_no_class():
    logits = np.zeros((3, 4), "float32")
    losses = ops.convert_to_numpy(softmax_cross_entropy(logits, np.array([0, 4, -1])))
    assert losses[0] == pytest.approx(np.log(4))
    assert np.isnan(losses[1:]).all()


def test_cross_entropy_of_large_logits():
    logits = np.array([[1e4, -1e4, 0.0]], "float32")
    losses = ops.convert_to_numpy(softmax_cross_entropy(np.repeat(logits, 2, 0), np.array([0, 1])))
    np.testing.assert_allclose(losses, [0, 2e4])


@pytest.mark.parametrize(
    "arguments",
    [{"weight": -1}, {"labeling": "self"}, {"expectation": "data"}, {"momentum": 1.0}],
)
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        SelfGroupingLoss(**arguments)
