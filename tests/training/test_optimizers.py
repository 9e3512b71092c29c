"""Optimizers: decay and accumulation compared with NumPy, SGD compared with PyTorch."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from processes import run_python
from sgd_oracle import DECAY, MOMENTUM, RATE, sgd_oracle, values

from gfkeras.training.optimizers import SGD, Adam, AdamW

JAX = keras.backend.backend() == "jax"
ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "torch.npz")


def least_squares(optimizer, name, steps):
    """Returns the weights after every tenth step on the problem of the PyTorch values."""
    rows, targets = ORACLE["sgd/rows"], ORACLE["sgd/targets"]
    weights = keras.Variable(ORACLE["sgd/start"], name=name)
    kept = []
    for step in range(steps):
        batch = slice(step % 4 * 16, step % 4 * 16 + 16)
        error = rows[batch] @ values(weights) - targets[batch]
        optimizer.apply([ops.convert_to_tensor(rows[batch].T @ error / 16)], [weights])
        kept.append(values(weights).copy())
    return np.stack(kept[9::10])


@pytest.mark.parametrize("form", ["plain", "nesterov"])
def test_a_thousand_steps_with_l2_decay_are_those_of_pytorch(form):
    expected = ORACLE[f"sgd/weights/{form}"]
    arguments = {"momentum": 0.9, "nesterov": form == "nesterov", "weight_decay": 5e-3}
    found = least_squares(SGD(0.02, weight_decay_mode="l2", **arguments), "kernel", 1000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    # PyTorch's decay includes biases.
    biases = {"weight_decay_mode": "l2", "decay_norm_and_bias": True}
    found = least_squares(SGD(0.02, **biases, **arguments), "bias", 100)
    np.testing.assert_allclose(found, expected[:10], rtol=0, atol=1e-5)
    # Decoupled decay is another rule, and leads elsewhere.
    found = least_squares(SGD(0.02, **arguments), "kernel", 100)
    assert np.abs(found[-1] - expected[9]).max() > 1e-3


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
@pytest.mark.parametrize("norms_too", [False, True])
def test_decay_of_dense_variables(mode, norms_too):
    rng = np.random.default_rng(1)
    start = {
        name: rng.normal(size=3).astype("float32")
        for name in ("kernel", "gamma", "beta", "alpha", "bias")
    }
    variables = [keras.Variable(value, name=name) for name, value in start.items()]
    optimizer = SGD(
        RATE, MOMENTUM, weight_decay=DECAY, weight_decay_mode=mode, decay_norm_and_bias=norms_too
    )
    gradients = [rng.normal(size=(len(variables), 3)).astype("float32") for _ in range(3)]
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], variables)
    for position, (name, w) in enumerate(start.items()):
        m = np.zeros(3)
        for gradient in gradients:
            kind = mode if norms_too or name == "kernel" else None
            w, m = sgd_oracle(w, m, gradient[position], kind, DECAY, False)
        np.testing.assert_allclose(values(variables[position]), w, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_config_round_trip(make):
    optimizer = make(0.01, weight_decay=0.02, weight_decay_mode="l2", decay_norm_and_bias=True)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(twin) is make
    assert twin.get_config() == optimizer.get_config()


def test_accumulated_steps_are_one_step_of_the_mean_gradient():
    rng = np.random.default_rng(2)
    start, gradients = (
        rng.normal(size=3).astype("float32"),
        rng.normal(size=(4, 3)).astype("float32"),
    )
    kernels = [keras.Variable(start, name="kernel") for _ in range(2)]
    arguments = {"momentum": MOMENTUM, "weight_decay": DECAY, "weight_decay_mode": "l2"}
    accumulating = SGD(RATE, gradient_accumulation_steps=2, **arguments)
    plain = SGD(RATE, **arguments)
    for gradient in gradients:
        accumulating.apply([ops.convert_to_tensor(gradient)], [kernels[0]])
    for pair in gradients.reshape(2, 2, 3):
        plain.apply([ops.convert_to_tensor(pair.mean(axis=0))], [kernels[1]])
    np.testing.assert_allclose(values(kernels[0]), values(kernels[1]), atol=1e-6)


ACCUMULATION = """
import sys
import keras
import numpy as np
import tensorflow as tf
import gfkeras
from gfkeras.training.optimizers import SGD

rng = np.random.default_rng(7)
images = rng.normal(size=(48, 5)).astype("float32")
labels = rng.integers(0, 40, 48).astype("int32")
scale = float(sys.argv[1])
if scale:
    keras.config.set_dtype_policy("mixed_float16")
strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for strategy in strategies:
    with strategy.scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,))
        model = keras.Model(inputs, keras.layers.Dense(5)(inputs))
        training = gfkeras.FaceClassifier(model, gfkeras.heads.ArcFace(40, scale=16.0))
        optimizer = SGD(
            0.05, 0.9, weight_decay=0.02, clipnorm=0.5, gradient_accumulation_steps=2
        )
        if scale:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
        training.compile(optimizer)
    centers = [training.head.centers.numpy()]
    for _ in range(3):
        training.fit(images[:16], labels[:16], batch_size=16, verbose=0)
        centers.append(training.head.centers.numpy())
    print([bool((a != b).any()) for a, b in zip(centers, centers[1:])])
    print(centers[-1].tolist())
"""


@pytest.mark.skipif(JAX, reason="tf.distribute's replicas")
@pytest.mark.parametrize(
    "loss_scale",
    [
        pytest.param(0, id="float32"),
        pytest.param(64, id="mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_two_replicas_accumulate_as_one(loss_scale):
    moved, one, other_moved, two = run_python(ACCUMULATION, str(loss_scale), two_cpus=True)
    assert moved == other_moved == [False, True, False]
    np.testing.assert_allclose(two, one, atol=2e-3 if loss_scale else 1e-6)
