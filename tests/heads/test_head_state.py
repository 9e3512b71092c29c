"""The state of heads from step to step: λ, t and the statistics of norms."""

from __future__ import annotations

import head_oracles as oracle
import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from keras import ops
from processes import run_python

from gfkeras import heads

RNG = np.random.default_rng(5)
EMBEDDING = RNG.normal(size=(8, 4), scale=3).astype("float32")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32")


def on_random_centers(head):
    head.build((None, 4))
    head.centers.assign(np.random.default_rng(1).normal(size=head.centers.shape))
    return head


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_sphereface_anneals_by_the_steps_trained(compiled):
    head = on_random_centers(heads.SphereFace(3))
    centers = ops.convert_to_numpy(head.centers).astype("float64")
    for iteration in range(4):
        head(EMBEDDING, LABELS)  # Not training: λ stays.
        expected = oracle.sphereface(EMBEDDING.astype("float64"), centers, LABELS, iteration)
        value, _, _ = layer_value_and_gradients(
            head, lambda logits: logits[0, 0], EMBEDDING, LABELS, training=True, compiled=compiled
        )
        assert float(value) == pytest.approx(expected[0, 0], rel=1e-4)
        assert float(head.iteration) == iteration + 1
    head.iteration.assign(1e7)
    assert float(head.annealing()) == 5.0


def test_curricularface_averages_before_use():
    head = on_random_centers(heads.CurricularFace(3, momentum=0.9))
    centers = ops.convert_to_numpy(head.centers).astype("float64")
    cosine = oracle.cosines(EMBEDDING.astype("float64"), centers)
    mean = np.mean([cosine[row, label] for row, label in enumerate(LABELS)])
    t = 0.0
    for _ in range(3):
        t = 0.9 * t + 0.1 * mean
        logits = ops.convert_to_numpy(head(EMBEDDING, LABELS, training=True))
        assert float(head.t) == pytest.approx(t, rel=1e-4)
        np.testing.assert_allclose(
            logits,
            oracle.curricular(EMBEDDING.astype("float64"), centers, LABELS, t),
            atol=2e-3,
        )
    head(EMBEDDING, LABELS)
    head(EMBEDDING, training=True)
    assert float(head.t) == pytest.approx(t, rel=1e-4)


def test_adaface_averages_mean_and_unbiased_deviation():
    head = on_random_centers(heads.AdaFace(3, momentum=0.5))
    norms = np.linalg.norm(EMBEDDING.astype("float64"), axis=1)
    mean, std = 20.0, 100.0
    for _ in range(3):
        mean, std = (mean + norms.mean()) / 2, (std + norms.std(ddof=1)) / 2
        logits = ops.convert_to_numpy(head(EMBEDDING, LABELS, training=True))
        assert float(head.norm_mean) == pytest.approx(mean, rel=1e-5)
        assert float(head.norm_std) == pytest.approx(std, rel=1e-5)
        expected = oracle.adaface(
            EMBEDDING.astype("float64"),
            ops.convert_to_numpy(head.centers).astype("float64"),
            LABELS,
            oracle.adaface_quality(EMBEDDING.astype("float64"), mean, std),
        )
        np.testing.assert_allclose(logits, expected, atol=2e-3)
    head(EMBEDDING, LABELS)
    assert float(head.norm_mean) == pytest.approx(mean, rel=1e-5)
    head(EMBEDDING[:1], LABELS[:1], training=True)
    assert float(head.norm_std) == pytest.approx(std / 2, rel=1e-5), "one image has no deviation"


def test_adaface_gives_arcface_and_cosface_at_its_ends():
    head = on_random_centers(heads.AdaFace(3))
    head.norm_mean.assign(5.0)
    head.norm_std.assign(1e-6)
    unit = EMBEDDING / np.linalg.norm(EMBEDDING, axis=1, keepdims=True)
    for norm, twin in ((1.0, heads.ArcFace(3, margin=0.4)), (5.0, heads.CosFace(3, margin=0.4))):
        on_random_centers(twin)
        rows = unit * norm
        # Only rows with θ + m < π. ArcFace uses another formula above π.
        angle = np.arccos(ops.convert_to_numpy(twin(rows)) / 64)[np.arange(8), LABELS]
        near = angle < np.pi - 0.4
        assert near.sum() > 4
        np.testing.assert_allclose(
            ops.convert_to_numpy(head(rows, LABELS))[near],
            ops.convert_to_numpy(twin(rows, LABELS))[near],
            atol=5e-3,
        )


def test_magface_adds_its_regularization_once_in_training():
    head = on_random_centers(heads.MagFace(3, lower_norm=1, upper_norm=4))
    expected = oracle.magface_regularization(EMBEDDING.astype("float64"))
    assert float(head.regularization(EMBEDDING)) == pytest.approx(expected, rel=1e-5)
    head(EMBEDDING, LABELS)
    assert head.losses == []
    head(EMBEDDING, LABELS, training=True)
    assert [float(loss) for loss in head.losses] == [pytest.approx(expected, rel=1e-5)]
    assert float(heads.ArcFace(3).regularization(EMBEDDING)) == 0


def test_magface_regularization_trains_with_plain_fit():
    """The head is part of a functional model with labels as an input and a loss of Keras."""
    embedding, labels = keras.Input((4,)), keras.Input((), dtype="int32")
    losses = []
    for weight in (35.0, 0.0):
        head = heads.MagFace(3, lower_norm=1, upper_norm=4, regularization_weight=weight)
        model = keras.Model([embedding, labels], head(embedding, labels))
        head.centers.assign(np.random.default_rng(1).normal(size=(3, 4)))
        model.compile(
            keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        history = model.fit([EMBEDDING, LABELS], LABELS, batch_size=8, verbose=0).history
        losses.append(history["loss"][0])
    expected = oracle.magface_regularization(EMBEDDING.astype("float64"))
    assert losses[0] - losses[1] == pytest.approx(expected, rel=1e-3)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from gfkeras import heads

embedding = np.random.default_rng(5).normal(size=(8, 4), scale=3).astype("float32")
labels = np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    each = [heads.AdaFace(3), heads.CurricularFace(3), heads.SphereFace(3)]
    for head in each:
        head.build((None, 4))
        head.centers.assign(np.random.default_rng(1).normal(size=(3, 4)).astype("float32"))

def shares(values):
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(np.split(values, 2)[replica.replica_id_in_sync_group])
    )

@tf.function
def step(embedding, labels):
    return [head(embedding, labels, training=True) for head in each]

logits = strategy.run(step, args=(shares(embedding), shares(labels)))
print([float(v.numpy()) for head in each for v in head.non_trainable_variables])
print([
    np.concatenate([v.numpy() for v in strategy.experimental_local_results(l)]).tolist()
    for l in logits
])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
def test_state_is_that_of_the_global_batch():
    state, logits = run_python(TWO_REPLICAS, two_cpus=True)
    alone = [on_random_centers(make(3)) for make in (heads.AdaFace, heads.CurricularFace)]
    alone.append(on_random_centers(heads.SphereFace(3)))
    wanted = [ops.convert_to_numpy(head(EMBEDDING, LABELS, training=True)) for head in alone]
    expected = [float(v) for head in alone for v in head.non_trainable_variables]
    np.testing.assert_allclose(state, expected, rtol=1e-5)
    for found, one in zip(logits, wanted, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-4)
    # With the statistics of each half, the values would differ. So this test can fail.
    half = on_random_centers(heads.AdaFace(3))
    half(EMBEDDING[:4], LABELS[:4], training=True)
    assert abs(float(half.norm_mean) - expected[0]) > 1e-3
