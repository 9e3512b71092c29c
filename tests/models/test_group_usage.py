"""The effective number of groups over the faces of an epoch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import gfkeras
from gfkeras.heads import ArcFace
from gfkeras.models import GroupUsage


def effective(shares):
    shares = np.asarray(shares, "float64")
    shares = shares[shares > 0] / shares.sum()
    return np.exp(-(shares * np.log(shares)).sum())


def expected(logits):
    """Returns the number by faces and the number by mean probability, in float64."""
    logits = np.asarray(logits, "float64")
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return effective(np.bincount(logits.argmax(axis=1))), effective(p.sum(axis=0))


def found(usage):
    result = usage.result()
    return float(result["effective_groups"]), float(result["effective_groups_soft"])


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])
def test_over_batches_of_any_size(sharpness):
    rng = np.random.default_rng(0)
    logits = (sharpness * rng.normal(size=(50, 7)) + rng.normal(size=7)).astype("float32")
    usage = GroupUsage(7)
    for part in (logits[:8], logits[8:9], logits[9:]):
        usage.update_state(part)
    assert found(usage) == pytest.approx(expected(logits), rel=1e-5)
    usage.reset_state()
    usage.update_state(logits[:9])
    assert found(usage) == pytest.approx(expected(logits[:9]), rel=1e-5)


def test_even_use_one_group_and_no_face():
    usage = GroupUsage(4)
    assert found(usage) == (1.0, 1.0)
    usage.update_state(np.repeat(20 * np.eye(4, dtype="float32"), 3, axis=0))
    assert found(usage) == pytest.approx((4, 4), rel=1e-5)
    usage.reset_state()
    usage.update_state(np.tile([[60.0, 0, 0, 0]], (5, 1)).astype("float16"))
    assert found(usage) == pytest.approx((1, 1), abs=1e-5)


def test_round_trip():
    usage = GroupUsage.from_config(GroupUsage(5, name="mine").get_config())
    assert (usage.num_groups, usage.name) == (5, "mine")


def test_training_logs_it():
    """A learning rate of 0 keeps the weights, so the expected values are known."""
    inputs = keras.Input((6,))
    outputs = {
        "embedding": keras.layers.Dense(4)(inputs),
        "group_logits": keras.layers.Dense(5, kernel_initializer="orthogonal")(inputs),
    }
    model = keras.Model(inputs, outputs)
    training = gfkeras.FaceClassifier(model, ArcFace(3))
    training.compile(keras.optimizers.SGD(0.0))
    x = np.random.default_rng(1).normal(size=(24, 6)).astype("float32")
    labels = np.arange(24) % 3
    wanted = expected(keras.ops.convert_to_numpy(model(x)["group_logits"]))
    history = training.fit(x, labels, batch_size=8, epochs=2, verbose=0).history
    evaluated = training.evaluate(x, labels, batch_size=8, verbose=0, return_dict=True)
    for logs in ({k: v[0] for k, v in history.items()}, {k: v[1] for k, v in history.items()},
                 evaluated):  # fmt: skip
        assert logs["effective_groups"] == pytest.approx(wanted[0], rel=1e-4)
        assert logs["effective_groups_soft"] == pytest.approx(wanted[1], rel=1e-4)
