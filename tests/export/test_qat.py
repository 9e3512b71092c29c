"""Fine-tuning in int8: the simulation computes what the file does, and learning helps."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfkeras.export import Int8Settings, QatSettings, export_model
from gfkeras.export.graph import form_of
from gfkeras.export.preparation import STEPS, flattened
from gfkeras.export.preparation.preparing import float32_model
from gfkeras.export.quantization import Calibration, int8_tflite, quantize
from gfkeras.export.quantization.calibration import Embeddings, embed
from gfkeras.export.quantization.int8 import integer_pixels, rounded
from gfkeras.export.quantization.integer_layers import FakeQuantization, fake_quantized_kernel
from gfkeras.export.quantization.observing import observe
from gfkeras.export.quantization.qat import fine_tune, simulated
from gfkeras.export.quantization.simulation import Simulation, by_nodes, by_tensors, tensors_of
from gfkeras.export.writers import write_tflite
from gfkeras.inference import Embedder
from gfkeras.layers import InputNormalization


def write(model, path):
    write_tflite(tf, form_of(model), path, "fp32")


@pytest.fixture(scope="module")
def shallow(as_trained, images):
    """A shallow network, because rounding errors grow from layer to layer."""
    keras.utils.set_random_seed(6)
    given = keras.Input((32, 32, 3), name="images")
    x = InputNormalization(name="normalize")(given)
    x = keras.layers.Conv2D(8, 3, strides=4, padding="same", name="conv")(x)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Flatten()(x)
    return as_trained(keras.Model(given, keras.layers.Dense(16, name="fc")(x)), images)


def prepared(model, mode=None):
    network = flattened(float32_model(model), mode)
    for step in STEPS:
        step(network)
    return network


# -- rounding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (-0.1, 10.0)])
def test_activations_are_rounded_to_int8_values(low, high):
    x = np.random.default_rng(0).normal(0, 3, 500).astype(np.float32)
    found = np.asarray(FakeQuantization(low, high)(x), np.float64)
    step = (high - low) / 255
    zero = np.round(-128 - low / step)
    expected = (np.clip(np.round(x / step) + zero, -128, 127) - zero) * step
    # Ties can be rounded to either side.
    near = np.abs(found - expected) < 1e-5
    assert near.mean() > 0.99
    assert np.abs(found - expected).max() <= step + 1e-5
    assert 0.0 in np.asarray(FakeQuantization(low, high)(np.zeros(1, np.float32)))


def test_gradients_pass_through_rounding_and_reach_the_ends():
    layer = FakeQuantization(-1.0, 2.0)
    x = tf.constant([-5.0, -0.3, 0.7, 9.0])
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x) * [1.0, 10.0, 100.0, 1000.0])
    by_x, by_ends = tape.gradient(total, [x, layer.exponents.value])
    np.testing.assert_allclose(by_x, [0.0, 10.0, 100.0, 0.0])
    # d(low·exp(10·e))/de = 10·low
    np.testing.assert_allclose(by_ends, [10 * -1.0 * 1.0, 10 * 2.0 * 1000.0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (3, 3, 6, 1), (10, 5)])
def test_kernels_are_rounded_as_bias_correction_expects(shape):
    kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    depthwise = shape == (3, 3, 6, 1)
    axes = (2, 3) if depthwise else (len(shape) - 1,)
    channels = 6 if depthwise else shape[-1]
    variable = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        found = fake_quantized_kernel(variable, channels)
        total = tf.reduce_sum(found)
    np.testing.assert_allclose(found, rounded(kernel.astype(np.float64), axes), atol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, variable), np.ones(shape))


def test_a_dead_channel_stays_zero():
    kernel = np.ones((4, 2), np.float32) * [0, 1]
    np.testing.assert_array_equal(fake_quantized_kernel(tf.constant(kernel, tf.float32), 2), kernel)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (-2.0, -1.0), (0.0, 0.0)])
def test_ends_without_zero_between_them_are_refused(low, high):
    with pytest.raises(ValueError, match=r"`low` and `high` must .* Received: low="):
        FakeQuantization(low, high)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("learning_rate", -1.0)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"`{name}`"):
        QatSettings(**{name: value})


# -- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_pixels_become_whole_numbers(images, padded):
    keras.utils.set_random_seed(0)
    given = keras.Input((32, 32, 3))
    x = InputNormalization(name="normalize")(given)
    if padded:
        x = keras.layers.ZeroPadding2D(1, name="pad")(x)
    x = keras.layers.Conv2D(5, 3, name="conv")(x)
    model = keras.Model(given, keras.layers.PReLU()(x))
    network = flattened(float32_model(model))
    for step in STEPS:
        step(network)
    before = network.model()
    found = integer_pixels(network)
    if not padded:
        # The bias already contains the mean.
        assert found == {}
        return
    ((name, ends),) = found.items()
    assert ends == (-128.0, 127.0)
    np.testing.assert_array_equal(network.nodes[name].weights[0], [-128.0] * 3)
    given = images.astype(np.float32)
    expected, after = (np.asarray(m(given)["embedding"]) for m in (before, network.model()))
    inside = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(after[inside], expected[inside], atol=1e-5)
    # At the border, the padding differs by half a grey value.
    assert 0 < np.abs(after - expected).max() < 0.05


# -- simulation -----------------------------------------------------------------------------------


def simulate(model, faces, tmp_path, mode=None):
    """Returns the embeddings of faces by the simulation, the file and the float network."""
    network = prepared(model, mode)
    path, given = tmp_path / "float.tflite", faces.astype(np.float32)
    pixels = integer_pixels(network)
    write(network.model(), path)
    nodes = tensors_of(network, path, given[0])
    ranges = {name: seen.range("min-max") for name, seen in observe(path, given).items()}
    ranges |= by_tensors(pixels, nodes)
    student = Simulation(network, by_nodes(ranges, nodes))
    return simulated(student, given), embed(quantize(path, "int8", ranges), given), network, nodes


def test_the_simulation_computes_what_the_file_does(shallow, faces, tmp_path):
    found, expected, network, nodes = simulate(shallow, faces, tmp_path)
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    exact = Embeddings.of(
        {"embedding": np.asarray(network.model()(faces.astype(np.float32))["embedding"])}
    )
    # The float network is less similar to the file.
    assert exact.mean_cosine(expected) < found.mean_cosine(expected)
    kernels = {node.name for node in network if len(node.weights) == 2}
    assert kernels <= set(nodes.values())


def test_the_simulation_is_exact_in_a_deep_network(as_trained, images, faces, tmp_path):
    """A tie that one layer rounds differently would change most of the values after it."""
    keras.utils.set_random_seed(8)
    given = keras.Input((32, 32, 3), name="images")
    x = keras.layers.Conv2D(8, 3, strides=2)(InputNormalization()(given))
    for _ in range(4):
        y = keras.layers.Conv2D(12, 1)(x)
        y = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.BatchNormalization()(y))
        y = keras.layers.DepthwiseConv2D(3)(keras.layers.ZeroPadding2D(1)(y))
        y = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.BatchNormalization()(y))
        x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1)(y)])
    out = keras.layers.Dense(16)(keras.layers.Flatten()(x))
    model = as_trained(keras.Model(given, out), images)
    found, expected, _, _ = simulate(model, faces, tmp_path)
    np.testing.assert_array_equal(found.embedding, expected.embedding)


@pytest.mark.parametrize("mode", ["hard", pytest.param("soft", marks=pytest.mark.slow)])
def test_the_simulation_of_groups(make_model, faces, tmp_path, mode):
    found, expected, _, _ = simulate(make_model(mode=mode), faces, tmp_path, mode)
    assert found.group_agreement(expected) >= 0.9
    same = found.group == expected.group
    assert (found.embedding * expected.embedding).sum(axis=1)[same].mean() > 0.999


# -- fine-tuning ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibration(faces) -> Calibration:
    return Calibration.of(faces, (32, 32, 3))


@pytest.fixture(scope="module")
def plain(shallow, calibration):
    """The int8 file without fine-tuning."""
    return int8_tflite(shallow, calibration, write, None, Int8Settings())


def test_the_file_computes_what_was_learned(shallow, calibration, plain):
    assert plain.simulated_cosine is None
    epochs = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: epochs.append(logs))
    qat = QatSettings(epochs=8, learning_rate=1e-4, callbacks=(callback,))
    tuned = int8_tflite(shallow, calibration, write, None, Int8Settings(qat=qat))
    assert len(epochs) == 8
    assert tuned.statistic == "qat"
    assert tuned.simulated_cosine == pytest.approx(1, abs=1e-6)
    assert tuned.mean_cosine["qat"] > plain.mean_cosine[plain.statistic]


def test_fine_tuning_that_does_not_help_is_undone(shallow, calibration, plain):
    qat = QatSettings(epochs=2, learning_rate=0.05)
    tuned = int8_tflite(shallow, calibration, write, None, Int8Settings(qat=qat))
    assert tuned.statistic == plain.statistic
    assert tuned.mean_cosine["qat"] < tuned.mean_cosine[plain.statistic]
    assert tuned.content == plain.content


def test_diverging_fine_tuning_is_an_error(shallow, calibration):
    qat = QatSettings(epochs=2, learning_rate=1e3)
    with pytest.raises(ValueError, match=r"diverged.*learning_rate=1000"):
        int8_tflite(shallow, calibration, write, None, Int8Settings(qat=qat))


def test_ends_and_weights_learn(shallow, faces, tmp_path):
    network = prepared(shallow)
    path, given = tmp_path / "float.tflite", faces.astype(np.float32)
    teacher = network.model()
    write(teacher, path)
    nodes = tensors_of(network, path, given[0])
    # Half of the values are clipped.
    ranges = {
        name: (low / 3, high / 3)
        for name, (low, high) in by_nodes(
            {name: seen.range("min-max") for name, seen in observe(path, given).items()}, nodes
        ).items()
    }
    expected = simulated(teacher, given)
    clipped = simulated(Simulation(network, ranges), given).mean_cosine(expected)
    student = fine_tune(network, ranges, teacher, faces, QatSettings(20, 1e-2))
    assert simulated(student, given).mean_cosine(expected) > clipped + 0.03
    wider = [
        high - low > ranges[name][1] - ranges[name][0]
        for name, (low, high) in student.ranges().items()
    ]
    assert np.mean(wider) > 0.5
    trained = student.trained()
    assert list(trained.nodes) == list(network.nodes)
    assert any(
        not np.array_equal(a, b)
        for name in network.nodes
        for a, b in zip(network.nodes[name].weights, trained.nodes[name].weights, strict=True)
    )


def test_fine_tuning_of_groups_from_model_to_card(make_model, faces, tmp_path):
    path = export_model(
        make_model(mode="hard"), tmp_path / "int8.tflite", precision="int8", calibration=faces,
        int8=Int8Settings(qat=QatSettings(epochs=1)),
    )  # fmt: skip
    card = json.loads((tmp_path / "int8.tflite.json").read_text())["int8"]
    assert set(card["mean_cosine"]) == {"min-max", "percentile", "mse", "qat"}
    chosen = card["mean_cosine"][card["statistic"]]
    assert chosen == max(card["mean_cosine"].values())
    assert (card["simulated_cosine"] is not None) == (card["statistic"] == "qat")
    assert Embedder(path)(faces[:2]).group is not None


def test_calibration_shares_many_faces_out(images):
    faces = np.tile(images, (30, 1, 1, 1))
    shared = Calibration.of(faces, (32, 32, 3))
    assert (len(shared.seen), len(shared.kept_back)) == (192, 64)
    assert len(shared.learned) == 360 - 64
    assert shared.learned.dtype == np.uint8
