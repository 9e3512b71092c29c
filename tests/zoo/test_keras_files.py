"""Files of Keras_insightface: `.h5`, `.keras`, and unsupported networks."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import keras_insightface
import numpy as np
import pytest
from keras import layers

from gfkeras.zoo import import_weights

PIXEL_SCALE = 0.0078125


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network(images):
    model = keras_insightface.resnet()
    normalised = (images.astype("float32") - 127.5) * PIXEL_SCALE
    keras_insightface.randomize(model, normalised)
    return model, keras.ops.convert_to_numpy(model(normalised))


def as_keras_2(path):
    """Rewrites an .h5 file of Keras 3 the way Keras 2 writes it."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "InputLayer":
                layer["config"]["batch_input_shape"] = layer["config"].pop("batch_shape")
            found = []
            for node in layer["inbound_nodes"]:
                tensors = node["args"][0]
                tensors = tensors if isinstance(tensors, list) else [tensors]
                found.append([[*t["config"]["keras_history"], {}] for t in tensors])
            layer["inbound_nodes"] = found
        file.attrs["model_config"] = json.dumps(config)
        root = file["model_weights"]
        for group in root.values():
            names = list(group.attrs["weight_names"])
            for name in names:
                group.move(name, f"{name}:0")
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in names]


# An .h5 of Keras 3 is read by `test_another_scale_of_pixels_can_be_given` too.
@pytest.mark.parametrize("form", ["keras", pytest.param("h5", marks=pytest.mark.slow), "keras2"])
def test_resnet_gives_the_same_embeddings(network, images, form, tmp_path):
    model, expected = network
    path = tmp_path / f"r18.{'keras' if form == 'keras' else 'h5'}"
    model.save(path)
    if form == "keras2":
        as_keras_2(path)
    ours = import_weights(path)
    assert type(ours).__name__ == "IResNet18"
    embedding = keras.ops.convert_to_numpy(ours(images))
    assert np.std(expected, axis=0).mean() > 0.1
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-4)


def test_another_scale_of_pixels_can_be_given(network, images, tmp_path):
    model, _ = network
    model.save(tmp_path / "r18.h5")
    expected = model((images.astype("float32") - 127.5) / 127.5)
    ours = import_weights(tmp_path / "r18.h5", pixel_scale=1 / 127.5)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(ours(images)),
        keras.ops.convert_to_numpy(expected),
        rtol=0,
        atol=1e-4,
    )


def test_relu_is_a_prelu_of_slope_zero(images, tmp_path):
    model = keras_insightface.resnet(activation="relu")
    normalised = (images.astype("float32") - 127.5) * PIXEL_SCALE
    keras_insightface.randomize(model, normalised)
    model.save(tmp_path / "relu.h5")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(import_weights(tmp_path / "relu.h5")(images)),
        keras.ops.convert_to_numpy(model(normalised)),
        rtol=0,
        atol=1e-4,
    )


def test_fewer_units_are_another_network(tmp_path):
    keras_insightface.resnet((1, 1, 1, 1)).save(tmp_path / "small.h5")
    with pytest.raises(ValueError, match=r"differs from IResNet18 at the layer 'stage1_block2_a"):
        import_weights(tmp_path / "small.h5")


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (keras_insightface.mobile_facenet, "MobileFaceNet at the layer 'stem_conv'"),
        (
            lambda: keras_insightface.resnet(max_pool=True),
            "IResNet18 at the layer 'stage1_block1_shortcut_conv'",
        ),
    ],
)
def test_a_layout_that_is_not_ours_names_the_first_layer(build, place, tmp_path):
    build().save(tmp_path / "other.h5")
    with pytest.raises(ValueError, match=place):
        import_weights(tmp_path / "other.h5")


def test_a_lambda_layer_is_not_run(tmp_path):
    ran = str(tmp_path / "ran")
    images = layers.Input((112, 112, 3))
    x = layers.Lambda(lambda x: open(ran, "w") and x, output_shape=(112, 112, 3))(images)  # noqa: SIM115, PTH123
    x = layers.Flatten()(layers.Conv2D(64, 3)(x))
    for name in ("evil.h5", "evil.keras"):
        keras.Model(images, x).save(tmp_path / name)
        Path(ran).unlink(missing_ok=True)
        with pytest.raises(ValueError, match="Lambda"):
            import_weights(tmp_path / name)
        assert not Path(ran).exists()


def test_weights_without_a_model_are_refused(network, tmp_path):
    model, _ = network
    model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ValueError, match="complete model"):
        import_weights(tmp_path / "only.weights.h5")
