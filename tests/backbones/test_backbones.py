"""Checks of every backbone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from eager_and_compiled import few_on_jax
from keras import ops
from small_networks import SMALL_BOTTLENECKS

from gfkeras import backbones

# One case for each way of building a feature. Most are not square.
SMALL = {
    "paper": (
        "MobileFaceNet",
        {"width": 0.125, "bottlenecks": SMALL_BOTTLENECKS, "input_shape": (48, 32, 3)},
    ),
    "insightface": (
        "MobileFaceNet",
        {"width": 0.125, "variant": "insightface", "input_shape": (32, 32, 3)},
    ),
    "iresnet": ("IResNet18", {"input_shape": (16, 32, 3), "dropout": 0.4}),
    "sphereface": ("SphereFaceNet10", {"width": 0.125, "input_shape": (32, 16, 3)}),
    "zeiler-fergus": ("FaceNetNN1", {"width": 0.125, "input_shape": (33, 18, 3)}),
    "inception": ("FaceNetNNS2", {"width": 0.5, "input_shape": (35, 29, 3)}),
    "inception-mean": ("FaceNetNN4", {"width": 0.0625, "input_shape": (24, 16, 3)}),
    "inception-resnet": (
        "InceptionResNetV1",
        {"width": 0.125, "repeats": (1, 1, 0), "input_shape": (75, 80, 3), "dropout": 0.4},
    ),
}


# JAX compiles each operation of the many modules.
ON_EACH_BACKEND = few_on_jax(SMALL, *(set(SMALL) - {"inception-mean", "insightface"}))


def test_every_backbone_has_a_small_case():
    def kinds(names):
        return {backbones.BACKBONES[name].build_feature.__qualname__ for name in names}

    assert kinds(name for name, _ in SMALL.values()) == kinds(backbones.BACKBONES)


@pytest.fixture(scope="module")
def small():
    cache: dict[str, keras.Model] = {}

    def get(key: str) -> keras.Model:
        if key not in cache:
            name, arguments = SMALL[key]
            cache[key] = backbones.get(name, embedding_dim=16, **arguments)
        return cache[key]

    return get


@pytest.mark.parametrize("key", ON_EACH_BACKEND)
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


@pytest.mark.parametrize("key", ON_EACH_BACKEND)
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
    shape = (2, *exact.input_shape[1:])
    images = np.random.default_rng(2).uniform(0, 255, shape).astype("float32")
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
        ({"input_shape": 112}, "input_shape"),
        ({"input_shape": "112"}, "input_shape"),
        ({"input_shape": None}, "input_shape"),
        ({"input_shape": (112.0, 112, 3)}, "input_shape"),
        ({"input_shape": ("a", 112, 3)}, "input_shape"),
        ({"pixel_scale": "x"}, "scale"),
    ],
)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        backbones.MobileFaceNet(**arguments)


@pytest.mark.parametrize(
    ("network", "arguments", "name"),
    [
        ("InceptionResNetV1", {"repeats": 5}, "repeats"),
        ("InceptionResNetV1", {"repeats": (1.5, 1, 1)}, "repeats"),
        ("InceptionResNetV1", {"repeats": ("a", 1, 1)}, "repeats"),
        ("InceptionResNetV1", {"dropout": "a"}, "dropout"),
        ("InceptionResNetV1", {"input_shape": (74, 75, 3)}, "input_shape"),
        ("IResNet18", {"dropout": 1}, "dropout"),
        ("IResNet18", {"dropout": None}, "dropout"),
        ("FaceNetNN4", {"input_shape": (16, 15, 3)}, "input_shape"),
        ("SphereFaceNet4", {"input_shape": (112, 100, 3)}, "input_shape"),
    ],
)
def test_wrong_arguments_of_other_networks_are_named(network, arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        backbones.get(network, **arguments)


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'MobileFaceNet'"):
        backbones.get("MobileFacenet2")
