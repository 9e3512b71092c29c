"""The ArcFace paper's losses on the angles to and between centers."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from differentiation import (
    finite_differences,
    layer_value_and_gradients,
    value_and_gradients,
)
from eager_and_compiled import EAGER_AND_COMPILED, slow_on_jax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from processes import run_python

from gfkeras.losses import InterLoss, IntraLoss


def angle(a, b):
    cosine = a @ b / math.sqrt((a @ a) * (b @ b))
    return math.acos(min(max(cosine, -1.0), 1.0))


def intra_oracle(embedding, labels, centers):
    angles = [angle(x, centers[y]) for x, y in zip(embedding, labels, strict=True)]
    return sum(angles) / (len(angles) * math.pi)


def inter_oracle(centers, labels=None):
    labels = range(len(centers)) if labels is None else labels
    total = 0.0
    for y in labels:
        for j in range(len(centers)):
            if j != y:
                total += angle(centers[y], centers[j])
    return -total / (math.pi * max(len(centers) - 1, 1) * len(labels))


def normal(*shape, seed=0, dtype="float32"):
    """Returns normal random numbers rounded to `dtype`, in float32."""
    values = np.random.default_rng(seed).normal(size=shape)
    return ops.convert_to_numpy(ops.cast(ops.cast(values, dtype), "float32"))


def xla(function, *arrays):
    """Returns value and gradients, computed in one XLA program."""
    if keras.backend.backend() == "jax":
        return value_and_gradients(function, *arrays, compiled=True)
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, tape.gradient(value, tensors)

    value, gradients = run(*map(tf.constant, arrays))
    return value.numpy(), [tf.convert_to_tensor(g).numpy() for g in gradients]


@EAGER_AND_COMPILED
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("labels", [[0, 3, 3, 1], [2]], ids=["four", "batch of one"])
def test_intra_is_the_mean_angle(labels, dtype, compiled):
    embedding, centers = normal(len(labels), 3, dtype=dtype), normal(5, 3, seed=1, dtype=dtype)
    loss = IntraLoss(weight=3.0)
    value, found = value_and_gradients(
        lambda x, c: loss(np.array(labels), ops.cast(x, dtype), ops.cast(c, dtype)),
        embedding,
        centers,
        compiled=compiled,
    )
    x, c = embedding.astype("float64"), centers.astype("float64")
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(3 * intra_oracle(x, labels, c), rel=1e-5)
    expected = finite_differences(lambda x, c: 3 * intra_oracle(x, labels, c), x, c)
    tolerance = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    # Centers of labels that are not in the batch get no gradient.
    np.testing.assert_array_equal(np.delete(found[1], labels, axis=0), 0)


@EAGER_AND_COMPILED
@pytest.mark.parametrize("theta", [1e-5, 1e-3, 0.1, math.pi / 2, math.pi - 1e-3, math.pi - 1e-5])
def test_intra_is_precise_at_the_ends(theta, compiled):
    embedding = np.array([[math.cos(theta), math.sin(theta)]], "float32")
    center = np.array([[1.0, 0.0]], "float32")
    x, y = embedding[0].astype("float64")
    value, found = value_and_gradients(
        lambda e, c: IntraLoss()(np.array([0]), e, c), embedding, center, compiled=compiled
    )
    exact = math.atan2(y, x)
    assert float(value) * math.pi == pytest.approx(exact, rel=1e-5)
    # Turning either vector away increases the angle. Both derivatives have length 1, and their
    # directions are opposite.
    turning = np.array([-math.sin(exact), math.cos(exact)]) / math.pi
    np.testing.assert_allclose(found[0][0], turning, atol=1e-3)
    np.testing.assert_allclose(found[1][0], [0, -1 / math.pi], atol=1e-3)


@EAGER_AND_COMPILED
def test_intra_of_equal_opposite_and_zero_rows(compiled):
    center = np.array([[0.6, 0.8], [0.0, 0.0]], "float32")
    cases = [(center[:1], 0, 0.0), (-center[:1], 0, 1.0), (0 * center[:1], 0, 0.5)]
    cases += [(center[:1], 1, 0.5), (0 * center[:1], 1, 0.5)]
    for embedding, label, expected in cases:
        value, found = value_and_gradients(
            lambda e, c, label=label: IntraLoss()(np.array([label]), e, c),
            embedding,
            center,
            compiled=compiled,
        )
        assert float(value) == pytest.approx(expected, abs=1e-6)
        assert np.isfinite(found[0]).all()
        assert np.isfinite(found[1]).all()
        if expected in (0.0, 1.0):
            np.testing.assert_array_equal(found[0], 0)


@pytest.mark.parametrize(
    ("block_size", "compiled"), [(2, False), (2, True), (7, True), (100, True)]
)
@pytest.mark.parametrize("labels", [[0, 3, 3, 6], [2], None], ids=["four", "one", "all"])
def test_inter_is_minus_the_mean_angle_between_centers(labels, block_size, compiled):
    centers = normal(7, 3)
    loss = InterLoss(weight=2.0, block_size=block_size)
    value, (found,) = value_and_gradients(
        lambda c: loss(None if labels is None else np.array(labels), c), centers, compiled=compiled
    )
    exact = centers.astype("float64")
    assert float(value) == pytest.approx(2 * inter_oracle(exact, labels), rel=1e-5)
    (expected,) = finite_differences(lambda c: 2 * inter_oracle(c, labels), exact)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("labels", [[0, 3, 3], None], ids=["labels", "all"])
def test_inter_in_mixed_precision(labels, dtype):
    centers = normal(5, 3, dtype=dtype)
    labels = None if labels is None else np.array(labels)
    value, (found,) = value_and_gradients(
        lambda c: InterLoss(block_size=2)(labels, ops.cast(c, dtype)), centers, compiled=True
    )
    exact = centers.astype("float64")
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(inter_oracle(exact, labels), rel=1e-5)
    (expected,) = finite_differences(lambda c: inter_oracle(c, labels), exact)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


@EAGER_AND_COMPILED
@pytest.mark.parametrize("labels", [[0, 0], None], ids=["labels", "all"])
def test_inter_of_few_equal_opposite_and_zero_centers(labels, compiled):
    cases = {
        "one": ([[3.0, 4.0]], 0.0),
        "opposite": ([[0.6, 0.8], [-1.2, -1.6]], -1.0),
        "equal": ([[0.6, 0.8], [1.2, 1.6]], 0.0),
        "all equal": ([[0.3, 0.4, 0.1]] * 5, 0.0),
        "a zero row": ([[0.0, 0.0], [1.0, 0.0]], -0.5),
    }
    for name, (centers, expected) in cases.items():
        value, (found,) = value_and_gradients(
            lambda c: InterLoss(block_size=2)(None if labels is None else np.array(labels), c),
            np.array(centers, "float32"),
            compiled=compiled,
        )
        # Near 0 and π, the angle of a float32 cosine is precise to 3e-4.
        assert float(value) == pytest.approx(expected, abs=3e-4), name
        assert np.isfinite(found).all(), name
        if name == "one":
            np.testing.assert_array_equal(found, 0)


@slow_on_jax
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**16), block_size=st.sampled_from([2, 5]))
def test_only_directions_relative_to_each_other_matter(seed, block_size):
    rng = np.random.default_rng(seed)
    centers, embedding = normal(6, 4, seed=seed), normal(4, 4, seed=seed + 1)
    labels = rng.integers(0, 6, 4)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    order = rng.permutation(6)
    lengths = rng.uniform(0.1, 10, (6, 1))
    turned = ((centers @ rotation) * lengths)[order].astype("float32")
    renamed = np.argsort(order)[labels]
    intra, inter = IntraLoss(), InterLoss(block_size=block_size)
    for before, after in (
        (
            intra(labels, embedding, centers),
            intra(renamed, 2 * embedding @ rotation.astype("float32"), turned),
        ),
        (inter(labels, centers), inter(renamed, turned)),
        (inter(None, centers), inter(None, turned)),
    ):
        assert float(before) == pytest.approx(float(after), abs=1e-5)


@slow_on_jax
def test_all_classes_once_is_the_mean_over_all_classes():
    centers = normal(9, 4)
    loss = InterLoss(block_size=4)
    assert float(loss(np.arange(9), centers)) == pytest.approx(float(loss(None, centers)), rel=1e-5)


class WithCenters(keras.layers.Layer):
    """A layer with trainable `centers`, as in a head, and both losses."""

    def build(self, labels_shape, embedding_shape):
        self.centers = self.add_weight(name="centers", shape=(6, embedding_shape[-1]))

    def call(self, labels, embedding, training=None):
        return (
            IntraLoss()(labels, embedding, self.centers)
            + InterLoss(block_size=4)(labels, self.centers)
            + InterLoss(block_size=4)(None, self.centers)
        )


@EAGER_AND_COMPILED
def test_gradients_reach_a_heads_centers(compiled):
    layer = WithCenters()
    labels, embedding, centers = np.array([5, 1, 1]), normal(3, 4), normal(6, 4, seed=2)
    layer.build((3,), (3, 4))
    layer.centers.assign(centers)
    value, (_, by_embedding), (by_centers,) = layer_value_and_gradients(
        layer, lambda v: v, labels, embedding, compiled=compiled
    )

    def oracle(x, c):
        return intra_oracle(x, labels, c) + inter_oracle(c, labels) + inter_oracle(c)

    assert float(value) == pytest.approx(oracle(embedding, centers), rel=1e-5)
    expected = finite_differences(oracle, embedding, centers)
    np.testing.assert_allclose(by_embedding, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_centers, expected[1], rtol=1e-4, atol=1e-5)


@slow_on_jax
def test_xla_gives_the_same():
    labels, embedding, centers = np.array([5, 1, 1]), normal(3, 4), normal(6, 4, seed=2)

    def losses(x, c):
        inter = InterLoss(block_size=4)
        return IntraLoss()(labels, x, c) + inter(labels, c) + inter(None, c)

    value, gradients = xla(losses, embedding, centers)
    expected_value, expected = value_and_gradients(losses, embedding, centers)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    for got, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [6, -1])
def test_a_label_that_is_no_class_is_refused_or_shows(wrong):
    labels, embedding, centers = np.array([0, wrong]), normal(2, 4), normal(6, 4, seed=2)
    for function in (
        lambda labels, c: IntraLoss()(labels, embedding, c),
        lambda labels, c: InterLoss(block_size=4)(labels, c),
    ):
        with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 6\)"):
            function(labels, centers)
        value, _ = value_and_gradients(function, labels, centers, compiled=True)
        assert np.isnan(value)


MEMORY = """
import resource
import numpy as np
from differentiation import value_and_gradients
from gfkeras.losses import InterLoss

rng = np.random.default_rng(0)
some = rng.integers(0, 14_000, 1024)

def use(labels, centers):
    value, (gradient,) = value_and_gradients(
        lambda c: InterLoss()(labels, c), centers, compiled=True
    )
    assert np.isfinite(gradient).all() and gradient.any()
    return float(value)

many = rng.normal(size=(100_000, 64)).astype("float32")
fewer = rng.normal(size=(14_000, 16)).astype("float32")
use(some % 10, many[:10]), use(None, many[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
values = [use(some, many), use(None, fewer)]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert np.allclose(values, -0.5, atol=1e-3), values
print((after - before) * 1024)
"""


@pytest.mark.slow
def test_inter_needs_little_memory():
    """A separate process, because only the peak memory of a whole process can be measured."""
    (used,) = run_python(MEMORY)
    # One (B, N) array of floats takes 410 MB. The (N, N) arrays take 40 GB and 780 MB.
    assert used < 350e6


@pytest.mark.parametrize("loss", [IntraLoss(0.5, name="in"), InterLoss(0.5, 64, name="out")])
def test_config_gives_the_same_loss(loss):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert twin.get_config() == loss.get_config()


@pytest.mark.parametrize("arguments", [{"weight": -1}, {"block_size": 0}, {"block_size": 2.5}])
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        InterLoss(**arguments)


def test_wrong_inputs_are_refused():
    with pytest.raises(
        ValueError, match=r"number of dimensions.*embedding with 3 and centers with 4"
    ):
        IntraLoss()(np.array([0]), normal(1, 3), normal(5, 4))
    with pytest.raises(ValueError, match="`labels` must be integers"):
        InterLoss()(np.array([0.0]), normal(5, 4))
    with pytest.raises(ValueError, match="`centers` must have the shape"):
        InterLoss()(None, normal(5, 3, 4))
