"""GroupEnsemble against the equations written out in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from gfkeras.layers import GroupEnsemble
from gfkeras.layers.group_ensemble import group_weights


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def oracle(layer: GroupEnsemble, feature: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Computes v^G for one face and one group at a time."""
    kernel, bias = (np.asarray(ops.convert_to_numpy(w), np.float64) for w in layer.weights)
    rows = []
    for x, z in zip(feature.astype(np.float64), logits.astype(np.float64), strict=True):
        groups = [x @ kernel[k] + bias[k] for k in range(len(kernel))]
        if layer.mode == "soft":
            rows.append(sum(p * v for p, v in zip(softmax(z), groups, strict=True)))
        else:
            rows.append(groups[int(np.argmax(z))])
    return np.stack(rows)


def random_layer(rng: np.random.Generator, batch: int, features: int, **arguments):
    layer = GroupEnsemble(**arguments)
    feature = rng.normal(size=(batch, features)).astype("float32")
    logits = rng.normal(size=(batch, layer.num_groups)).astype("float32") * 2
    layer.build(feature.shape, logits.shape)
    layer.bias.assign(rng.normal(size=layer.bias.shape))
    return layer, feature, logits


@pytest.mark.parametrize("mode", ["soft", "hard"])
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    batch=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 5]),
)
def test_matches_the_equations(mode, seed, batch, groups):
    rng = np.random.default_rng(seed)
    layer, feature, logits = random_layer(
        rng, batch, features=6, num_groups=groups, embedding_dim=4, mode=mode
    )
    result = ops.convert_to_numpy(layer(feature, logits))
    np.testing.assert_allclose(result, oracle(layer, feature, logits), rtol=1e-5, atol=1e-5)


def test_hard_is_not_scaled_by_the_probability():
    weights = ops.convert_to_numpy(
        group_weights(np.array([[0.1, 0.2, 0.0]], "float32"), "hard", "straight-through")
    )
    np.testing.assert_array_equal(weights, [[0.0, 1.0, 0.0]])


def gradient_to_logits(mode: str, hard_gradient: str) -> np.ndarray:
    """Returns d sum(weights · c) / d logits, computed by the current backend."""
    logits = np.array([[0.3, -0.2, 0.9], [1.0, 0.0, 0.5]], "float32")
    c = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]], "float32")

    def value(z):
        return ops.sum(group_weights(z, mode, hard_gradient) * c)

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(value)(logits))
    import tensorflow as tf

    z = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = value(z)
    gradient = tape.gradient(total, z)
    return np.zeros_like(logits) if gradient is None else gradient.numpy()


def test_straight_through_has_the_soft_gradient_and_stopped_has_none():
    soft = gradient_to_logits("soft", "straight-through")
    assert np.abs(soft).max() > 0.01
    np.testing.assert_allclose(gradient_to_logits("hard", "straight-through"), soft, atol=1e-7)
    np.testing.assert_array_equal(gradient_to_logits("hard", "stopped"), 0)


def test_each_group_starts_with_the_scale_of_its_own_fc():
    layer = GroupEnsemble(num_groups=8, embedding_dim=64)
    layer.build((None, 64), (None, 8))
    kernel = ops.convert_to_numpy(layer.kernel)
    limit = np.sqrt(6 / (64 + 64))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert not np.allclose(kernel[0], kernel[1])


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_groups", 0), ("embedding_dim", 2.5), ("mode", "sotf"), ("hard_gradient", "none")],
)
def test_wrong_arguments_are_named(argument, value):
    arguments = {"num_groups": 2, "embedding_dim": 2, argument: value}
    with pytest.raises(ValueError, match=rf"`{argument}`.*Received: {argument}="):
        GroupEnsemble(**arguments)
