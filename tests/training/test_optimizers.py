"""Optimizers: decay and accumulation compared with NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from processes import run_python
from sgd_oracle import DECAY, MOMENTUM, RATE, sgd_oracle, values

from gfkeras.training.optimizers import SGD, Adam, AdamW

JAX = keras.backend.backend() == "jax"


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
