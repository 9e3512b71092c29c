"""Skipping of steps that are not finite, on all replicas and without a trace."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from processes import run_python

from gfkeras import heads, losses
from gfkeras.models import FaceClassifier, LossScaling

IDENTITIES = 4


def classifier(skip: bool = True) -> FaceClassifier:
    """Returns a classifier with batch normalisation, dropout and a center loss.

    A step changes the state of all three.
    """
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
    x = keras.layers.Dropout(0.2, seed=4)(x)
    model = keras.Model(inputs, keras.layers.Dense(6)(x))
    training = FaceClassifier(
        model, heads.ArcFace(IDENTITIES, scale=8.0), losses.CenterLoss(IDENTITIES)
    )
    training.compile(keras.optimizers.SGD(0.05, momentum=0.9), skip_nonfinite=skip)
    return training


def batches(bad: str | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns four batches of eight, and with `bad` one more that makes its step not finite."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4):
        labels = rng.integers(0, IDENTITIES, 8).astype(np.int32)
        found.append((rng.normal(size=(8, 5)).astype(np.float32), labels))
    if bad is not None:
        rows, labels = (part.copy() for part in found[0])
        if bad == "image":
            rows[6, 2] = np.nan
        else:
            rows[1] = 3e38
        found.insert(2, (rows, labels))
    return found


class Fed(keras.utils.PyDataset):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, index):
        return self.steps[index]


def trained(training: FaceClassifier, steps) -> dict[str, float]:
    history = training.fit(Fed(steps), shuffle=False, verbose=0)
    return {key: values[-1] for key, values in history.history.items()}


@pytest.fixture(scope="module")
def sound():
    """Returns a classifier after four good steps, and its logs."""
    training = classifier()
    return training, trained(training, batches())


@pytest.mark.parametrize("bad", ["image", pytest.param("large", marks=pytest.mark.slow)])
def test_a_skipped_step_leaves_no_trace(bad, sound):
    expected, wanted = sound
    found = classifier()
    logs = trained(found, batches(bad))
    assert np.isfinite(wanted["loss"])
    assert logs == wanted
    for ours, theirs in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)
    # The scale was halved once. This has no effect on the results.
    assert float(np.asarray(found.optimizer.dynamic_scale)) == 0.5
    assert int(np.asarray(found.optimizer.iterations)) == 4


def test_skipping_changes_nothing_in_a_sound_run(sound):
    skipping, found = sound
    plain = classifier(skip=False)
    expected = trained(plain, batches())
    assert found == pytest.approx(expected, rel=1e-6)
    for ours, theirs in zip(plain.variables, skipping.variables, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


def test_without_skipping_the_loss_is_nan():
    assert np.isnan(trained(classifier(skip=False), batches("image"))["loss"])


def test_mixed_float16_has_our_loss_scaling():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        training = classifier(skip=False)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(training.optimizer, LossScaling)
    assert training.optimizer.initial_scale == 2.0**15
    weights = [np.asarray(weight) for weight in training.model.trainable_variables]
    assert np.isfinite(trained(training, batches())["loss"])
    assert any(
        (np.asarray(weight) != old).any()
        for weight, old in zip(training.model.trainable_variables, weights, strict=True)
    )


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
from gfkeras import heads
from gfkeras.models import FaceClassifier

def run(bad):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(24, 5)).astype("float32")
    labels = rng.integers(0, 4, 24)
    if bad:
        # The second replica's half of the second of three batches.
        rows[15, 2] = np.nan
    else:
        rows, labels = np.delete(rows, range(8, 16), 0), np.delete(labels, range(8, 16), 0)
    with strategy.scope():
        inputs = keras.Input((5,))
        x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
        training = FaceClassifier(keras.Model(inputs, keras.layers.Dense(6)(x)), heads.ArcFace(4))
        training.compile(keras.optimizers.SGD(0.05, momentum=0.9), skip_nonfinite=True)
    logs = training.fit(rows, labels, batch_size=8, shuffle=False, verbose=0).history
    return logs["loss"], [np.asarray(v).tolist() for v in training.variables]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print([run(True) == run(False)])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_a_replica_that_is_not_finite_stops_the_step_of_all():
    assert run_python(TWO_REPLICAS, two_cpus=True) == [[True]]
