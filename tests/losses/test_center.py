"""The center loss."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import finite_differences
from eager_and_compiled import EAGER_AND_COMPILED, slow_on_jax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from processes import run_python

from gfkeras.losses import CenterLoss


def loss_oracle(embedding, labels, centers):
    total = 0.0
    for x, y in zip(embedding, labels, strict=True):
        total += 0.5 * sum((x - centers[y]) ** 2)
    return total / len(labels)


def centers_oracle(embedding, labels, centers, alpha):
    moved = centers.copy()
    for j, center in enumerate(centers):
        delta, count = np.zeros_like(center), 0
        for x, y in zip(embedding, labels, strict=True):
            if y == j:
                delta += center - x
                count += 1
        moved[j] = center - alpha * delta / (1 + count)
    return moved


def made(centers, alpha=0.5, weight=1.0):
    loss = CenterLoss(len(centers), alpha=alpha, weight=weight)
    loss.build((None,), (None, centers.shape[1]))
    loss.centers.assign(centers)
    return loss


def step(loss, embedding, labels, compiled, training=True, dtype="float32"):
    """Returns value and gradient of one call, with embeddings cast as in mixed precision.

    In training the call moves the centers, also in a compiled step.
    """
    labels = np.array(labels)
    if keras.backend.backend() == "jax":
        import jax

        def value_and_state(embedding, state, labels):
            value, state = loss.stateless_call(
                [], state, labels, ops.cast(embedding, dtype), training=training
            )
            return value, state

        run = jax.value_and_grad(value_and_state, has_aux=True)
        state = [v.value for v in loss.non_trainable_variables]
        (value, state), gradient = (jax.jit(run) if compiled else run)(embedding, state, labels)
        for variable, new in zip(loss.non_trainable_variables, state, strict=True):
            variable.assign(new)
    else:
        import tensorflow as tf

        def run(embedding, labels):
            with tf.GradientTape() as tape:
                tape.watch(embedding)
                value = loss(labels, ops.cast(embedding, dtype), training=training)
            return value, tape.gradient(value, embedding)

        run = tf.function(run) if compiled else run
        value, gradient = run(tf.constant(embedding), tf.constant(labels))
    return float(value), ops.convert_to_numpy(gradient)


BATCHES = {
    "random": ([1, 4, 1, 0, 2, 2, 2], None),
    "batch of one": ([3], None),
    "one class": ([2, 2, 2, 2], None),
    "identical rows": ([1, 1, 3], [0, 0, 0]),
    "identical rows of two classes": ([1, 0], [0, 0]),
}


@EAGER_AND_COMPILED
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("batch", BATCHES)
def test_value_gradient_and_centers_are_the_papers(batch, dtype, compiled):
    labels, rows = BATCHES[batch]
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(5, 3)).astype("float32")
    embedding = rng.normal(size=(len(labels), 3))
    embedding = embedding[rows] if rows else embedding
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(embedding, dtype), "float32"))
    loss = made(centers, alpha=0.3, weight=2.0)
    value, gradient = step(loss, rounded, labels, compiled, dtype=dtype)
    x, c = rounded.astype("float64"), centers.astype("float64")
    assert value == pytest.approx(2 * loss_oracle(x, labels, c), rel=1e-5)
    (expected,) = finite_differences(lambda x: 2 * loss_oracle(x, labels, c), x)
    # The cast rounds the gradient too.
    tolerance = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss.centers),
        centers_oracle(x, labels, c, alpha=0.3),
        rtol=1e-5,
        atol=1e-6,
    )


@EAGER_AND_COMPILED
def test_centers_stay_where_they_are_outside_training(compiled):
    centers = np.arange(6, dtype="float32").reshape(3, 2)
    loss = made(centers)
    step(loss, np.ones((2, 2), "float32"), [0, 2], compiled, training=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(loss.centers), centers)


@EAGER_AND_COMPILED
@pytest.mark.parametrize(
    ("labels", "spoiled", "is_bad"),
    [
        ([0, 1, 3], 1.0, np.isnan),
        ([0, 1, -1], 1.0, np.isnan),
        ([0, 1, 2], np.nan, np.isnan),
        ([0, 1, 2], np.inf, np.isinf),
    ],
)
def test_a_bad_batch_is_refused_or_shows_and_moves_no_center(labels, spoiled, is_bad, compiled):
    centers = np.arange(6, dtype="float32").reshape(3, 2)
    loss = made(centers)
    embedding = np.ones((3, 2), "float32")
    embedding[0, 1] = spoiled
    if compiled:
        value, _ = step(loss, embedding, labels, compiled)
        assert is_bad(value)
    else:
        with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 3\)|must be finite"):
            loss(np.array(labels), embedding, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(loss.centers), centers)
    # The loss continues with the next good batch.
    step(loss, np.ones((3, 2), "float32"), [0, 1, 2], compiled)
    assert not np.array_equal(ops.convert_to_numpy(loss.centers), centers)


@slow_on_jax
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_a_batch_does_not_matter_and_translation_moves_all(seed):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(4, 3)).astype("float32")
    embedding = rng.normal(size=(6, 3)).astype("float32")
    labels = rng.integers(0, 4, 6)
    order, shift = rng.permutation(6), rng.normal(size=3).astype("float32")
    plain, shuffled, moved = made(centers), made(centers), made(centers + shift)
    value = float(plain(labels, embedding, training=True))
    assert float(shuffled(labels[order], embedding[order], training=True)) == pytest.approx(value)
    assert float(moved(labels, embedding + shift, training=True)) == pytest.approx(value, rel=1e-4)
    after = ops.convert_to_numpy(plain.centers)
    np.testing.assert_allclose(ops.convert_to_numpy(shuffled.centers), after, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(moved.centers), after + shift, atol=1e-5)


@slow_on_jax
def test_centers_go_to_the_means_of_their_classes():
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(9, 4)).astype("float32")
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 3, 3])
    loss = CenterLoss(4, alpha=1.0)
    for _ in range(40):
        loss(labels, embedding, training=True)
    found = ops.convert_to_numpy(loss.centers)
    for j in (0, 1, 3):
        np.testing.assert_allclose(found[j], embedding[labels == j].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found[2], 0)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from gfkeras.layers import num_replicas
from gfkeras.losses import CenterLoss

batch = np.load(sys.argv[1])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    loss = CenterLoss(5, alpha=0.3, weight=2.0)
    loss.build((None,), (None, 3))
    loss.centers.assign(batch["centers"])

def halves(name):
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(np.split(batch[name], 2)[replica.replica_id_in_sync_group])
    )

@tf.function
def step(labels, embedding):
    return loss(labels, embedding, training=True), num_replicas()

values, count = strategy.run(step, args=(halves("labels"), halves("embedding")))
assert {int(c) for c in strategy.experimental_local_results(count)} == {2}
print([float(v) for v in strategy.experimental_local_results(values)])
copies = strategy.experimental_local_results(loss.centers.value)
assert len(copies) == 2
print([c.numpy().tolist() for c in copies])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
def test_two_replicas_move_the_centers_as_one_does(tmp_path):
    """Two replicas need a separate process, because a device is split before TensorFlow starts."""
    rng = np.random.default_rng(5)
    # Both replicas have images of class 1, so neither half alone gives its step.
    batch = {
        "labels": np.array([1, 4, 1, 0, 1, 2]),
        "embedding": rng.normal(size=(6, 3)).astype("float32"),
        "centers": rng.normal(size=(5, 3)).astype("float32"),
    }
    np.savez(tmp_path / "batch.npz", **batch)
    values, copies = run_python(TWO_REPLICAS, str(tmp_path / "batch.npz"), two_cpus=True)
    loss = made(batch["centers"], alpha=0.3, weight=2.0)
    whole = float(loss(batch["labels"], batch["embedding"], training=True))
    assert np.mean(values) == pytest.approx(whole, rel=1e-5)
    for copy in copies:
        np.testing.assert_allclose(copy, ops.convert_to_numpy(loss.centers), rtol=1e-5, atol=1e-6)


def test_config_gives_the_same_loss():
    loss = CenterLoss(7, 0.25, 0.01, keras.initializers.RandomNormal(seed=1), name="pull")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert twin.get_config() == loss.get_config()
    for each in (loss, twin):
        each.build((None,), (None, 2))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loss.centers), ops.convert_to_numpy(twin.centers)
    )
    assert loss.centers.shape == (7, 2)
    assert loss.trainable_variables == []


@pytest.mark.parametrize(
    "arguments", [{"num_classes": 0}, {"alpha": 1.5}, {"alpha": -0.1}, {"weight": -1}]
)
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        CenterLoss(**{"num_classes": 3, **arguments})


def test_wrong_inputs_are_refused():
    loss = CenterLoss(3)
    embedding = np.ones((2, 4), "float32")
    with pytest.raises(ValueError, match="`labels` must be integers"):
        loss(np.array([0.0, 1.0]), embedding)
    with pytest.raises(ValueError, match="one entry per embedding"):
        loss(np.array([0, 1, 2]), embedding)
    with pytest.raises(ValueError, match=r"\(batch, dimensions\)"):
        CenterLoss(3)(np.array([0, 1]), np.ones((2, 4, 1), "float32"))
