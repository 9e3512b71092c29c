"""Checks of every backbone, and the published sizes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from small_networks import SMALL_BOTTLENECKS

from gfkeras import backbones
from gfkeras.models import count_macs

SMALL = {
    "paper": (
        "MobileFaceNet",
        {"width": 0.125, "bottlenecks": SMALL_BOTTLENECKS, "input_shape": (32, 32, 3)},
    ),
    "insightface": (
        "MobileFaceNet",
        {"width": 0.125, "variant": "insightface", "input_shape": (32, 32, 3)},
    ),
    "iresnet": ("IResNet18", {"input_shape": (16, 16, 3), "dropout": 0.4}),
}


SIZE = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="takes minutes on JAX, with the same sizes"
)


def trainable_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def prelu_parameters(model: keras.Model) -> int:
    return sum(
        layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.PReLU)
    )


@SIZE
def test_mobilefacenet_has_the_papers_size():
    model = backbones.MobileFaceNet(embedding_dim=128)
    assert trainable_parameters(model) == 1_003_136
    assert trainable_parameters(model) - prelu_parameters(model) == 995_584
    assert round(count_macs(model) / 1e6) == 221
    # The network has 7,552 slopes. In the published weights, 96 of them are above 1.
    assert prelu_parameters(model) == 7_552


@SIZE
def test_insightface_mobilefacenet_has_the_published_size():
    model = backbones.MobileFaceNet(embedding_dim=512, variant="insightface")
    assert f"{trainable_parameters(model) / 1e6:.2f}" == "2.06"
    assert int(count_macs(model) / 1e6) == 437


@pytest.mark.parametrize(
    ("name", "millions", "giga_macs"),
    [
        ("IResNet18", "24.03", "2.61"),
        ("IResNet34", "34.14", "4.46"),
        ("IResNet50", "43.59", "6.31"),
        ("IResNet100", "65.16", "12.09"),
    ],
)
@SIZE
def test_iresnet_has_the_published_size(name, millions, giga_macs):
    model = backbones.get(name, embedding_dim=512)
    assert f"{trainable_parameters(model) / 1e6:.2f}" == millions
    assert f"{count_macs(model) / 1e9:.2f}" == giga_macs


@pytest.fixture(scope="module")
def small():
    cache: dict[str, keras.Model] = {}

    def get(key: str) -> keras.Model:
        if key not in cache:
            name, arguments = SMALL[key]
            cache[key] = backbones.get(name, embedding_dim=16, **arguments)
        return cache[key]

    return get


@pytest.mark.parametrize("key", SMALL)
def test_round_trip_through_a_folder(key, small, tmp_path):
    from gfkeras.saving import load_model

    model = small(key)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if not variable.path.startswith("seed"):
            noise = rng.uniform(0.8, 1.2, variable.shape)
            if "moving" in variable.path:
                variable.assign(ops.convert_to_numpy(variable) * noise)
    images = rng.integers(0, 256, (2, *model.input_shape[1:]), dtype="uint8")
    twin = load_model(model.save_to(tmp_path / "model"))
    assert twin.get_config() == model.get_config()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(twin(images)), ops.convert_to_numpy(model(images))
    )


@pytest.mark.parametrize("key", SMALL)
def test_bytes_and_floats_give_the_same(key, small):
    model = small(key)
    images = np.random.default_rng(1).integers(0, 256, (2, *model.input_shape[1:]), dtype="uint8")
    result = ops.convert_to_numpy(model(images))
    assert result.shape == (2, 16)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, ops.convert_to_numpy(model(images.astype("float32"))))


def test_mixed_precision_gives_float32_and_is_close(dtype_policy):
    name, arguments = SMALL["paper"]
    exact = backbones.get(name, embedding_dim=16, **arguments)
    dtype_policy("mixed_bfloat16")
    mixed = backbones.get(name, embedding_dim=16, **arguments)
    mixed.set_weights(exact.get_weights())
    assert mixed.get_layer("stem_conv").compute_dtype == "bfloat16"
    images = np.random.default_rng(2).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    a, b = (ops.convert_to_numpy(model(images)) for model in (exact, mixed))
    assert b.dtype == np.float32
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.99


def test_stride_two_pads_both_sides():
    """If a face moves by two pixels, the feature map moves by one."""
    model = backbones.MobileFaceNet(width=0.125, input_shape=(32, 32, 3))
    stem = keras.Model(model.input, model.get_layer("stem_conv").output)
    image = np.full((1, 32, 32, 3), 127.5, "float32")
    image[0, 0, 0] = 255
    kernel = ops.convert_to_numpy(model.get_layer("stem_conv").kernel)
    # The corner pixel is at the center of the first window.
    expected = kernel[1, 1].sum(axis=0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(stem(image))[0, 0, 0], expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"variant": "insightfase"}, "variant"),
        ({"width": 0}, "width"),
        ({"width": "half"}, "width"),
        ({"embedding_dim": -1}, "embedding_dim"),
        ({"input_shape": (112, 112, 1)}, "input_shape"),
        ({"input_shape": (100, 112, 3)}, "input_shape"),
    ],
)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        backbones.MobileFaceNet(**arguments)


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'MobileFaceNet'"):
        backbones.get("MobileFacenet2")
