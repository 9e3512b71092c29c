"""The loss, its statistics and its gradient."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
from bn_networks import FLAT, MAPS, bn_network
from keras import ops
from processes import run_python

from gfkeras.experiments.inversion import InversionSettings
from gfkeras.experiments.inversion import objective as objectives
from gfkeras.experiments.inversion.batch_statistics import (
    BatchStatistics,
    batch_normalizations,
    recorded_inputs,
)
from gfkeras.experiments.inversion.objective import Objective, view_matrix
from gfkeras.heads import ArcFace

PLAIN = view_matrix(16, 16)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return bn_network()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)


@pytest.fixture
def targets() -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((4, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_inputs_of_each_normalisation_are_recorded(network, images):
    layers = batch_normalizations(network)
    assert len(layers) == MAPS + FLAT
    pixels = (images + 1) * 127.5
    expected = network.predict_on_batch(pixels)["embedding"]
    with recorded_inputs(layers) as seen:
        found = network(pixels, training=False)["embedding"]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)
    assert {layer.name for layer, _ in seen} == {layer.name for layer in layers}
    before = keras.Model(network.input, network.get_layer("last_bn").input)
    [inputs] = [inputs for layer, inputs in seen if layer.name == "last_bn"]
    np.testing.assert_allclose(
        ops.convert_to_numpy(inputs), before.predict_on_batch(pixels), atol=1e-5
    )
    with recorded_inputs(layers) as again:
        pass
    network(pixels)
    assert again == []


@pytest.mark.parametrize(("least", "counted"), [(1, MAPS + FLAT), (4, MAPS + FLAT), (5, MAPS)])
def test_statistics_are_those_of_the_layers_inputs(network, images, least, counted):
    pixels = (images + 1) * 127.5
    statistics = BatchStatistics(network, least)
    with recorded_inputs(statistics.layers) as seen:
        network(pixels, training=False)
    expected = number = 0
    for layer, inputs in seen:
        values = ops.convert_to_numpy(inputs).astype(np.float64)
        if values.ndim == 2 and least > 4:
            continue
        number += 1
        rows = values.reshape(-1, values.shape[-1])
        moving = ops.convert_to_numpy(layer.moving_variance).astype(np.float64)
        expected += ((rows.mean(0) - ops.convert_to_numpy(layer.moving_mean)) ** 2).sum()
        expected += ((rows.std(0) - np.sqrt(moving)) ** 2).sum()
    assert number == counted
    assert float(statistics.distance(seen)) == pytest.approx(expected, rel=1e-4)
    # If a layer has the exact statistics of its input, the distance is 0.
    for layer, inputs in seen:
        values = ops.convert_to_numpy(inputs)
        axes = tuple(range(values.ndim - 1))
        statistics.moving[id(layer)] = (values.mean(axes), values.std(axes))
    assert float(statistics.distance(seen)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("close_set", [False, True], ids=["open", "close"])
def test_the_loss_is_the_weighted_sum_of_its_terms(network, images, targets, close_set):
    rng = np.random.default_rng(2)
    centers = rng.standard_normal((5, 8)).astype(np.float32) if close_set else None
    labels = np.array([0, 4, 2, 2], np.int32)
    settings = InversionSettings(
        identity_weight=3.0, statistics_weight=0.7, variation_weight=0.2, norm_weight=0.1
    )
    objective = Objective(network, settings, centers)
    loss, terms = objective(images, PLAIN, PLAIN, targets, labels)
    feature = network.predict_on_batch((images + 1) * 127.5)["embedding"]
    unit = feature / np.linalg.norm(feature, axis=1, keepdims=True)
    if centers is None:
        identity = ((unit - targets) ** 2).sum(axis=1).mean()
    else:
        head = ArcFace(5)
        head.build((None, 8))
        head.centers.assign(centers)
        logits = ops.convert_to_numpy(head(feature, labels)).astype(np.float64)
        identity = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), labels])
    assert float(terms["identity"]) == pytest.approx(identity, rel=1e-4)
    assert float(terms["cosine"]) == pytest.approx((unit * targets).sum(axis=1).mean(), abs=1e-5)
    expected = (
        3.0 * float(terms["identity"])
        + 0.7 * float(terms["statistics"])
        + 0.2 * float(terms["variation"])
        + 0.1 * float(terms["norm"])
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_model_without_batch_normalisation_is_refused():
    images = keras.Input((16, 16, 3))
    plain = keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images)), name="bare")
    with pytest.raises(ValueError, match=r"`model` must have batch normalisation.*'bare'"):
        Objective(plain, InversionSettings())


def test_the_gradient_is_that_of_the_loss(network, images, targets):
    objective = Objective(network, InversionSettings(statistics_weight=0.5))
    view, labels = view_matrix(16, 16, 1.5), np.zeros(4, np.int32)
    step = objectives.compiled(
        lambda *arguments: objectives.value_and_gradient(objective, *arguments), objective.variables
    )
    _, gradient = step(images, PLAIN, view, targets, labels)
    gradient = ops.convert_to_numpy(gradient)
    direction = gradient / np.linalg.norm(gradient)
    moved = [
        step((images + sign * 0.01 * direction).astype(np.float32), PLAIN, view, targets, labels)
        for sign in (1, -1)
    ]
    up, down = (float(terms["loss"]) for terms, _ in moved)
    assert (up - down) / 0.02 == pytest.approx(np.linalg.norm(gradient), rel=0.02)


# Each backend computes a gradient and ten steps from the same weights, noise and targets.
SCRIPT = """
import json, sys
import numpy as np
from bn_networks import bn_network
from gfkeras.experiments.inversion import InversionSettings, Targets, invert
from gfkeras.experiments.inversion import objective as objectives
from gfkeras.experiments.inversion.objective import Objective
from gfkeras.experiments.inversion.objective import view_matrix

network = bn_network()
rng = np.random.default_rng(0)
images = rng.uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)
centers = rng.standard_normal((5, 8)).astype(np.float32)
targets = Targets.of_classes(list("abcd"), np.array([0, 4, 2, 2]), centers)
objective = Objective(network, InversionSettings(), targets.centers)
view = view_matrix(16, 16, 1.5)
step = objectives.compiled(
    lambda *arguments: objectives.value_and_gradient(objective, *arguments), objective.variables
)
_, gradient = step(images, view, view, targets.embedding, targets.labels)
pictures = invert(network, targets, InversionSettings(steps=10, coarse=(2, 1), shift=1.0), seed=5)
np.savez(sys.argv[1], gradient=np.asarray(gradient), pictures=pictures)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or importlib.util.find_spec("jax") is None,
    reason="compares JAX with TensorFlow once",
)
@pytest.mark.slow
def test_both_backends_give_the_same_gradient_and_images(tmp_path):
    for backend in ("tensorflow", "jax"):
        run_python(
            "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n" + SCRIPT,
            str(tmp_path / f"{backend}.npz"),
            forked=backend == "tensorflow",
            KERAS_BACKEND=backend,
        )
    with np.load(tmp_path / "tensorflow.npz") as one, np.load(tmp_path / "jax.npz") as other:
        scale = np.abs(one["gradient"]).max()
        assert scale > 0
        np.testing.assert_allclose(other["gradient"], one["gradient"], atol=1e-4 * scale)
        difference = np.abs(one["pictures"].astype(int) - other["pictures"])
        assert difference.mean() < 0.5
        assert one["pictures"].std() > 20
