"""Small networks with weights like those of trained ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from gfkeras.backbones import MobileFaceNet
from gfkeras.layers import InputNormalization
from gfkeras.models import GroupFace

SIZE = 32
# Different numbers, because a tensor's shape then identifies it.
GROUPS, DIM, FEATURE = 7, 20, 4 * 4 * 3

# Each kind of bottleneck once: with a stride, with a shortcut, and with more channels.
BOTTLENECKS = ((64, 64, 1, 2), (64, 64, 2, 1), (128, 128, 1, 2))

if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["test_*.py"]


def tiny_backbone(size: int = SIZE) -> keras.Model:
    """Builds a small backbone with the layers that converters must handle."""
    inputs = keras.Input((size, size, 3), name="images")
    x = InputNormalization()(inputs)
    x = keras.layers.Conv2D(8, 3, strides=4, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.Conv2D(3, 3, strides=2, padding="same")(x)
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Activation("linear", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="tiny")


def trained_like(model: keras.Model, images: np.ndarray, seed: int = 0) -> keras.Model:
    """Sets statistics that fit the data, slopes below and above 1, and group logits that vary."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0, 0.3, shape))
        if isinstance(layer, keras.layers.PReLU):
            layer.alpha.assign(rng.uniform(-0.5, 1.5, layer.alpha.shape))
        if isinstance(layer, keras.layers.Dense) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    for _ in range(3):
        model(images, training=True)
    if isinstance(model, GroupFace):
        model.ensemble.bias.assign(rng.normal(0, 0.3, model.ensemble.bias.shape))
        logits = np.asarray(model(images, training=False)["group_logits"])
        classifier = model.get_layer("group_decision").classifier
        classifier.kernel.assign(5 * np.asarray(classifier.kernel))
        classifier.bias.assign(5 * (np.asarray(classifier.bias) - logits.mean(axis=0)))
    return model


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Smooth and varied images, (12, 32, 32, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(12, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    noise = rng.normal(size=(12, SIZE, SIZE, 3))
    return np.clip(128 + 60 * coarse + 10 * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def faces(images: np.ndarray) -> np.ndarray:
    """Calibration faces, (60, 32, 32, 3) uint8: `images`, shifted."""
    rng = np.random.default_rng(5)
    return np.concatenate([np.roll(images, rng.integers(-9, 9, 2), axis=(1, 2)) for _ in range(5)])


@pytest.fixture(scope="session")
def make_model(images: np.ndarray) -> Callable[..., GroupFace]:
    """Builds a GroupFace with weights like trained ones, by default on a tiny backbone."""

    def make(backbone: keras.Model | None = None, **arguments: Any) -> GroupFace:
        keras.utils.set_random_seed(3)
        settings = {"embedding_dim": DIM, "num_groups": GROUPS, "shared_dim": None, **arguments}
        return trained_like(GroupFace(backbone or tiny_backbone(), **settings), images)

    return make


@pytest.fixture(scope="session")
def as_trained() -> Callable[[keras.Model, np.ndarray], keras.Model]:
    """Gives a model weights like trained ones."""
    return trained_like


@pytest.fixture(scope="session")
def mobilefacenet() -> Callable[[], keras.Model]:
    return lambda: MobileFaceNet(width=0.125, bottlenecks=BOTTLENECKS, input_shape=(SIZE, SIZE, 3))


@pytest.fixture(scope="session")
def plain(images: np.ndarray) -> keras.Model:
    """A backbone without groups."""
    keras.utils.set_random_seed(4)
    return trained_like(
        MobileFaceNet(DIM, width=0.125, bottlenecks=BOTTLENECKS, input_shape=(SIZE, SIZE, 3)),
        images,
    )
