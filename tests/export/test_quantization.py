"""int8 artefacts: their embeddings are close to the model's."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfkeras.export import TOLERANCES, Int8Settings, export_model, verify
from gfkeras.export.preparation import flattened
from gfkeras.export.quantization import Calibration, compact, int8_tflite, quantize
from gfkeras.export.quantization.calibration import embed
from gfkeras.export.quantization.int8 import correct_biases, rounded
from gfkeras.export.quantization.observing import BINS, Histogram
from gfkeras.export.quantization.sensitivity import Sensitivity, pattern, within_latency
from gfkeras.inference import Embedder


@pytest.fixture(scope="module")
def groupface(make_model):
    """A shallow network, because rounding errors grow with many layers of random weights."""
    return make_model(mode="hard")


@pytest.fixture(scope="module")
def shallow(as_trained, images):
    keras.utils.set_random_seed(6)
    given = keras.Input((32, 32, 3), name="images")
    x = given
    for index, (filters, strides) in enumerate(((8, 4), (12, 2))):
        x = keras.layers.Conv2D(filters, 3, strides=strides, name=f"conv{index}")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.PReLU(shared_axes=[1, 2], name=f"prelu{index}")(x)
    x = keras.layers.Dense(16, name="embedding_fc")(keras.layers.Flatten()(x))
    return as_trained(keras.Model(given, x), images)


@pytest.fixture(scope="module")
def artefact(groupface, faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model.tflite"
    return export_model(groupface, path, precision="int8", calibration=faces)


def test_int8_keeps_embeddings_and_groups(groupface, artefact, images):
    result = verify(Embedder(groupface), Embedder(artefact), images)
    assert result.precision == "int8"
    assert all(flip.gap < 0.05 for flip in result.group_disagreements)
    other = {flip.image for flip in result.group_disagreements}
    same = [i for i in range(len(images)) if i not in other]
    assert len(same) >= 0.75 * len(images)
    assert result.cosine[same].mean() >= 0.995


def test_card_and_size(groupface, artefact, tmp_path):
    card = json.loads(artefact.with_name("model.tflite.json").read_text())
    assert card["precision"] == "int8"
    assert set(card["int8"]["mean_cosine"]) == {"min-max", "percentile", "mse"}
    chosen = card["int8"]["mean_cosine"][card["int8"]["statistic"]]
    assert chosen == max(card["int8"]["mean_cosine"].values())
    assert 0.5 <= card["int8"]["group_agreement"] <= 1
    whole = export_model(groupface, tmp_path / "fp32.tflite")
    assert artefact.stat().st_size < 0.5 * whole.stat().st_size


@pytest.mark.parametrize("integer_only", [False, True])
def test_integers_at_both_ends(shallow, faces, images, tmp_path, integer_only):
    from ai_edge_litert.interpreter import Interpreter

    path = export_model(
        shallow, tmp_path / "int8.tflite", precision="int8", calibration=faces,
        int8=Int8Settings(inputs="int8", outputs="int8", integer_only=integer_only),
    )  # fmt: skip
    interpreter = Interpreter(model_path=str(path))
    ends = interpreter.get_input_details() + interpreter.get_output_details()
    assert [end["dtype"] for end in ends] == [np.int8, np.int8]
    # The input is a byte minus 128 for any calibration images.
    assert ends[0]["quantization"] == (pytest.approx(1.0), -128)
    card = json.loads((tmp_path / "int8.tflite.json").read_text())
    assert card["inputs"][0]["dtype"] == card["outputs"][0]["dtype"] == "int8"
    assert card["inputs"][0]["values"] == "RGB, 0…255, less 128; normalised inside"
    floats = [
        detail["name"] for detail in interpreter.get_tensor_details()
        if detail["dtype"] == np.float32 and detail["name"]
    ]  # fmt: skip
    assert bool(floats) != integer_only
    result = verify(Embedder(shallow), Embedder(path), images)
    assert result.mean_cosine >= 0.995


def test_integer_outputs_of_groups(groupface, artefact, faces, images, tmp_path):
    """The group's argmax also reads an output."""
    path = export_model(
        groupface, tmp_path / "int8.tflite", precision="int8", calibration=faces,
        int8=Int8Settings(outputs="int8"),
    )  # fmt: skip
    found, expected = Embedder(path)(images), Embedder(artefact)(images)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-6)
    np.testing.assert_array_equal(found.group, expected.group)


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8-weights"])
def test_weights_alone(shallow, images, tmp_path, precision):
    path = export_model(shallow, tmp_path / "model.tflite", precision=precision)
    result = verify(Embedder(shallow), Embedder(path), images)
    assert result.precision == precision
    assert result.passed(), result.to_json()


def test_compact_changes_no_number(plain, images, tmp_path):
    path = export_model(plain, tmp_path / "model.tflite")
    before = quantize(path, "int8-weights")
    after = compact(before)
    assert len(after) < 0.9 * len(before)
    given = images.astype(np.float32)
    np.testing.assert_array_equal(embed(before, given).embedding, embed(after, given).embedding)
    # Compacting a second time changes nothing.
    assert abs(len(compact(after)) - len(after)) < 64


def test_layers_stay_float_within_the_latency(shallow, faces):
    from gfkeras.export.graph import form_of
    from gfkeras.export.writers import write_tflite

    def write(model, path):
        import tensorflow as tf

        write_tflite(tf, form_of(model), path, "fp32")

    calibration = Calibration.of(faces, (32, 32, 3))
    base = int8_tflite(shallow, calibration, write, None, Int8Settings())
    free = int8_tflite(shallow, calibration, write, None, Int8Settings(max_latency_ratio=1000))
    assert base.float_layers == ()
    gains = [each.gain for each in free.sensitivities]
    assert gains == sorted(gains, reverse=True)
    assert set(free.float_layers) == {e.layer for e in free.sensitivities if e.gain > 0}
    assert free.mean_cosine[free.statistic] > base.mean_cosine[base.statistic]
    assert len(free.content) > len(base.content)


def test_no_latency_to_spend(groupface, images, tmp_path):
    path = export_model(groupface, tmp_path / "model.tflite")
    ranked = [Sensitivity("stem_conv", 0.1), Sensitivity("head_conv", 0.0)]
    content = path.read_bytes()

    def quantized(_):
        return content

    image = images[0].astype(np.float32)
    assert within_latency(quantized, ranked, content, image, 1e-6) == ()
    # Layers without a gain do not stay float, even if the latency allows it.
    assert within_latency(quantized, ranked, content, image, 1e6) == ("stem_conv",)


def test_patterns_name_one_layer():
    import re

    stem = pattern("stem")
    assert re.search(stem, "functional_3_1/stem_1/BiasAdd;functional_3_1/stem_1/convolution")
    assert re.search(stem, "functional/other/mul;functional/stem/add")
    for other in ("functional_3_1/stem_conv_1/BiasAdd", "functional_3_1/a_stem/add", "stem"):
        assert not re.search(stem, other)


def test_a_kernel_that_the_quantiser_takes_in_parts(
    make_model, images, faces, tmp_path, monkeypatch
):
    """Kernels of 33 MiB exist from 128 groups on.

    A lower limit tests the same with a small model.
    """
    from gfkeras.export.preparation import flattening

    monkeypatch.setattr(flattening, "_LARGEST_QUANTISED", 1)
    model = make_model(mode="hard")
    whole = export_model(model, tmp_path / "fp32.tflite")
    assert verify(Embedder(model), Embedder(whole), images).passed()
    path = export_model(model, tmp_path / "int8.tflite", precision="int8", calibration=faces)
    assert np.median(verify(Embedder(model), Embedder(path), images).cosine) >= 0.99


# -- ranges ---------------------------------------------------------------------------------------


def histogram(values: np.ndarray) -> Histogram:
    low, high = float(values.min()), float(values.max())
    return Histogram(low, high, np.histogram(values, BINS, (low, high))[0].astype(float))


def mean_square_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(((np.clip(np.round((values - low) / step), 0, 255) * step + low - values) ** 2)
                 .mean())  # fmt: skip


def test_ranges_of_a_tensor_with_outliers():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 400_000), [40.0, -25.0]])
    seen = histogram(values)
    assert seen.range("min-max") == (-25.0, 40.0)
    low, high = seen.range("percentile")
    assert -6 < low < -3.5
    assert 3.5 < high < 6
    best = mean_square_error(values, *seen.range("mse"))
    assert best < 0.5 * mean_square_error(values, -25.0, 40.0)
    for fraction in np.linspace(0.4, 1, 25):
        assert best <= 1.02 * mean_square_error(values, -25 * fraction, 40 * fraction)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50),
    st.sampled_from(["min-max", "percentile", "mse"]),
)
def test_every_range_holds_zero_and_no_more_than_was_seen(numbers, statistic):
    values = np.array(numbers, np.float64)
    if np.ptp(values) and np.ptp(values) < 1e-6:
        return
    low, high = values.min(), values.max()
    counts = np.histogram(values, BINS, (low, high))[0] if high > low else np.zeros(BINS)
    found = Histogram(float(low), float(high), counts.astype(float)).range(statistic)
    assert min(low, 0.0) - 1e-9 <= found[0] <= 0.0 <= found[1] <= max(high, 0.0) + 1e-9


# -- bias correction ------------------------------------------------------------------------------


def test_biases_take_out_what_rounding_adds():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    given = keras.Input((6, 6, 8))
    x = keras.layers.Conv2D(16, 3, name="conv", bias_initializer="random_normal")(given)
    x = keras.layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x)
    model = keras.Model(given, keras.layers.Dense(5, name="dense")(keras.layers.Flatten()(x)))
    images = rng.uniform(1, 3, (64, 6, 6, 8)).astype(np.float32)
    network = flattened(model)
    before = {name: network.nodes[name].weights for name in ("conv", "depthwise", "dense")}
    mean = {"images": images.mean(axis=(0, 1, 2))}
    correct_biases(network, mean)
    kernel, bias = before["conv"]
    np.testing.assert_array_equal(network.nodes["conv"].weights[0], kernel)
    # Nodes without a measured mean do not change.
    for name in ("depthwise", "dense"):
        for old, new in zip(before[name], network.nodes[name].weights, strict=True):
            np.testing.assert_array_equal(old, new)
    crude = rounded(np.asarray(kernel, np.float64), (3,))

    def outputs(kernel, bias):
        return keras.ops.conv(images, kernel.astype(np.float32)) + bias.astype(np.float32)

    exact = np.asarray(outputs(kernel, bias)).mean(axis=(0, 1, 2))
    off = np.asarray(outputs(crude, bias)).mean(axis=(0, 1, 2)) - exact
    corrected = network.nodes["conv"].weights[1]
    left = np.asarray(outputs(crude, corrected)).mean(axis=(0, 1, 2)) - exact
    assert np.abs(left).max() < 0.2 * np.abs(off).max()


@pytest.mark.parametrize("axes", [(3,), (2, 3)])
def test_rounded_kernels_have_255_levels(axes):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    found = rounded(kernel, axes)
    rest = tuple(axis for axis in range(4) if axis not in axes)
    step = np.abs(kernel).max(axis=rest, keepdims=True) / 127
    assert (np.abs(found - kernel) <= step / 2 + 1e-12).all()
    np.testing.assert_allclose(found / step, np.round(found / step), atol=1e-9)
    assert (rounded(np.zeros((1, 1, 2, 2)), axes) == 0).all()


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (None, r"aligned faces of shape \(N, 32, 32, 3\)"),
        (np.zeros((40, 31, 32, 3), np.uint8), r"Received: shape \(40, 31, 32, 3\)"),
        (np.full((31, 32, 32, 3), 9, np.uint8), "at least 32 faces. Received: 31"),
        (np.full((40, 32, 32, 3), 0.5, np.float32), "no value above 1"),
        (np.full((40, 32, 32, 3), np.nan, np.float32), "values of 0…255"),
        (np.full((40, 32, 32, 3), -3.0, np.float32), "values of -3 to -3"),
    ],
)
def test_invalid_calibration(plain, tmp_path, calibration, message):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"earlier")
    with pytest.raises(ValueError, match=message):
        export_model(plain, path, precision="int8", calibration=calibration)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    assert path.read_bytes() == b"earlier"


def test_settings_that_do_not_fit(plain, faces, tmp_path):
    with pytest.raises(ValueError, match="are for precision='int8'"):
        export_model(plain, tmp_path / "a.tflite", calibration=faces)
    with pytest.raises(ValueError, match=r"'int8' is for format='tflite'.*savedmodel"):
        export_model(plain, tmp_path / "a", format="savedmodel", precision="int8")
    with pytest.raises(ValueError, match="`inputs` must be"):
        Int8Settings(inputs="uint4")
    with pytest.raises(ValueError, match="`max_latency_ratio` must be positive"):
        Int8Settings(max_latency_ratio=0)
    with pytest.raises(ValueError, match="which `integer_only` forbids"):
        Int8Settings(integer_only=True, max_latency_ratio=0.8)
    assert not list(tmp_path.iterdir())


def test_a_failing_export_leaves_nothing(shallow, faces, tmp_path, monkeypatch):
    from gfkeras.export.quantization import int8

    def broken(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(int8, "compact", broken)
    with pytest.raises(RuntimeError, match="no room"):
        export_model(shallow, tmp_path / "a.tflite", precision="int8", calibration=faces)
    assert not list(tmp_path.iterdir())


def test_tolerances_are_stated_for_every_precision():
    from gfkeras.export import PRECISIONS

    assert set(TOLERANCES) == set(PRECISIONS)
    assert str(TOLERANCES["int8"]) == "mean_cosine at least 0.985"
    assert not TOLERANCES["int8"].kept(float("nan"))
    assert not TOLERANCES["fp32"].kept(float("nan"))
