"""ArcFace against its formula in float64, at random points and at the edges."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from gfkeras import heads
from gfkeras.heads import ArcFace
from gfkeras.heads.arcface import additive_angular_margin


def oracle(embedding, centers, labels, scale, margin):
    unit = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (embedding, centers)]
    cosine = np.clip(unit[0].astype("float64") @ unit[1].astype("float64").T, -1, 1)
    logits = cosine.copy()
    for row, label in enumerate(labels):
        theta = math.acos(cosine[row, label])
        if theta + margin < math.pi:
            logits[row, label] = math.cos(theta + margin)
        else:
            logits[row, label] = cosine[row, label] - margin * math.sin(margin)
    return scale * logits


def head_on(centers: np.ndarray, **arguments) -> ArcFace:
    head = ArcFace(len(centers), **arguments)
    head.build((None, centers.shape[1]))
    head.centers.assign(centers)
    return head


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.2])
def test_logits_at_random_points(margin):
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(16, 8)).astype("float32")
    centers = rng.normal(size=(5, 8)).astype("float32")
    labels = rng.integers(0, 5, 16).astype("int32")
    # Some beyond π − m.
    embedding[:4] = -centers[labels[:4]] + 0.1 * embedding[:4]
    head = head_on(centers, margin=margin)
    result = ops.convert_to_numpy(head(embedding, labels))
    np.testing.assert_allclose(
        result, oracle(embedding, centers, labels, 64.0, margin), atol=64 * 2e-5
    )


def margin_and_gradient(cosine: np.ndarray, margin: float):
    if keras.backend.backend() == "jax":
        import jax

        value = additive_angular_margin(cosine, margin)
        gradient = jax.grad(lambda c: ops.sum(additive_angular_margin(c, margin)))(cosine)
        return np.asarray(value), np.asarray(gradient)
    import tensorflow as tf

    c = tf.constant(cosine)
    with tf.GradientTape() as tape:
        tape.watch(c)
        value = additive_angular_margin(c, margin)
    return value.numpy(), tape.gradient(value, c).numpy()


def test_edges_are_finite_and_monotone():
    # θ = 0, π, π − m to the last bit on either side.
    edge = np.float32(math.cos(math.pi - 0.5))
    cosine = np.array(
        [-1, np.nextafter(edge, np.float32(-2)), edge, np.nextafter(edge, np.float32(2)), 0, 1],
        "float32",
    )
    value, gradient = margin_and_gradient(cosine, 0.5)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert value[-1] == pytest.approx(math.cos(0.5), abs=2e-4)
    every = np.linspace(-1, 1, 20001).astype("float32")
    value, _ = margin_and_gradient(every, 0.5)
    assert (value <= every + 1e-6).all(), "a margin never helps the target"


def test_gradient_matches_finite_differences():
    cosine = np.array([-0.95, -0.5, 0.0, 0.3, 0.9, 0.99], "float32")

    def exact(c):
        theta = math.acos(c)
        return math.cos(theta + 0.5) if theta + 0.5 < math.pi else c - 0.5 * math.sin(0.5)

    numeric = [(exact(c + 1e-6) - exact(c - 1e-6)) / 2e-6 for c in cosine.astype("float64")]
    np.testing.assert_allclose(margin_and_gradient(cosine, 0.5)[1], numeric, rtol=1e-3)


def test_without_labels_gives_scaled_cosines():
    centers = np.eye(3, dtype="float32")
    head = head_on(centers, scale=10.0)
    result = ops.convert_to_numpy(head(np.array([[3.0, 0.0, 0.0]], "float32")))
    np.testing.assert_allclose(result, [[10, 0, 0]], atol=1e-6)


def test_zero_embedding_has_zero_cosines():
    head = head_on(np.eye(3, dtype="float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(head(np.zeros((1, 3), "float32"))), 0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 3]), r"\[0, 3\).*from 0 to 3"),
        (np.array([-1, 0]), r"\[0, 3\).*from -1"),
        (np.array([0.0, 1.0]), "must be integers.*float"),
        (np.array([[0], [1]]), r"shape \(batch,\)"),
    ],
)
def test_wrong_labels_are_named(labels, message):
    head = head_on(np.eye(3, dtype="float32"))
    with pytest.raises(ValueError, match=message):
        head(np.ones((2, 3), "float32"), labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes`"),
        ({"num_classes": 2, "scale": 0}, "`scale`"),
        ({"num_classes": 2, "margin": 3.2}, "`margin`"),
        ({"num_classes": 2, "margin": float("nan")}, "`margin`"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ArcFace(**arguments)


def test_three_dimensional_embeddings_are_refused():
    with pytest.raises(ValueError, match=r"shape \(batch, dimensions\)"):
        ArcFace(3)(np.ones((2, 3, 4), "float32"))


def test_unknown_head_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'ArcFace'"):
        heads.get("arcfce", num_classes=2)
