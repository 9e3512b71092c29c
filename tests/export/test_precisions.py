"""Precisions with weights in four or eight bits, and ONNX in float16 and int8."""

from __future__ import annotations

import json
from collections import Counter

import keras
import numpy as np
import pytest

from gfkeras.export import Int8Settings, check_precision, export_model, prepare, verify
from gfkeras.export.preparation import DENSE_STEPS, STEPS
from gfkeras.inference import Embedder

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def groupface(make_model):
    return make_model(mode="hard")


@pytest.fixture(scope="module")
def pointwise(as_trained, images):
    """A network with most of its weights in 1×1 convolutions."""
    keras.utils.set_random_seed(8)
    given = keras.Input((32, 32, 3), name="images")
    x = keras.layers.Rescaling(1 / 128, -1)(given)
    x = keras.layers.Conv2D(32, 3, strides=4, name="stem")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.Conv2D(96, 1, name="expand")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.DepthwiseConv2D(3, strides=2, name="depthwise")(x)
    x = keras.layers.Conv2D(64, 1, name="project")(x)
    x = keras.layers.Dense(64, name="embedding_fc")(keras.layers.GlobalAveragePooling2D()(x))
    return as_trained(keras.Model(given, x), images)


@pytest.fixture(scope="module")
def int8_onnx(groupface, faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "int8.onnx"
    return export_model(groupface, path, format="onnx", precision="int8", calibration=faces)


@pytest.fixture(scope="module")
def fp32_onnx(groupface, tmp_path_factory):
    return export_model(groupface, tmp_path_factory.mktemp("onnx") / "fp32.onnx", format="onnx")


def operators(path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


# -- TFLite ---------------------------------------------------------------------------------------


def test_pixels_times_a_matrix_are_a_pointwise_convolution(pointwise, images):
    before, after = prepare(pointwise, steps=STEPS), prepare(pointwise, steps=DENSE_STEPS)
    classes = {layer.name: type(layer).__name__ for layer in after.layers}
    assert classes["expand"] == classes["project"] == "PixelDense"
    assert classes["stem"] == "Conv2D"
    assert classes["depthwise"] == "DepthwiseConv2D"
    given = images.astype(np.float32)
    expected, found = before(given)["embedding"], after(given)["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("precision", "batch_size"),
    [
        ("int8-dynamic", None),
        ("int4-dynamic", 1),
        ("int4-weights", None),
        pytest.param("int8-dynamic", 1, marks=pytest.mark.slow),
        pytest.param("int4-dynamic", None, marks=pytest.mark.slow),
        pytest.param("int4-weights", 1, marks=pytest.mark.slow),
    ],
)
def test_weights_in_integers(pointwise, images, tmp_path, precision, batch_size):
    from ai_edge_litert.interpreter import Interpreter

    path = export_model(
        pointwise, tmp_path / "a.tflite", precision=precision, batch_size=batch_size
    )
    result = verify(Embedder(pointwise), Embedder(path), images)
    assert result.precision == precision
    assert result.passed(), result.to_json()
    # Float weights would pass the tolerance too, so a loss of precision must be visible.
    assert result.mean_cosine < 0.999999
    card = json.loads(path.with_name("a.tflite.json").read_text())
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    stored = [detail["dtype"] for detail in interpreter.get_tensor_details()]
    assert np.int8 in stored
    if precision == "int8-dynamic":
        assert "int4_layers" not in card
    else:
        # The smallest layers stay int8.
        assert set(card["int4_layers"]) == {"expand", "project", "embedding"}
    if precision.endswith("-dynamic"):
        # XNNPACK runs the whole file as one part, for any batch size and for a fixed one.
        names = [op["op_name"] for op in interpreter._get_ops_details()]
        assert names.count("DELEGATE") == 1
        assert "SHAPE" not in names


def test_four_bits_are_smaller_than_eight(pointwise, tmp_path):
    size = {
        precision: export_model(pointwise, tmp_path / "a.tflite", precision=precision)
        .stat()
        .st_size
        for precision in ("int8-weights", "int4-weights")
    }
    weights = 32 * 96 + 96 * 64 + 64 * 64
    assert size["int8-weights"] - size["int4-weights"] > 0.8 * weights / 2


# -- ONNX -----------------------------------------------------------------------------------------


def test_onnx_in_float16(groupface, fp32_onnx, images, tmp_path):
    path = export_model(groupface, tmp_path / "a.onnx", format="onnx", precision="fp16")
    model = onnx.load(str(path))
    ends = [*model.graph.input, *model.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}
    stored = Counter(tensor.data_type for tensor in model.graph.initializer)
    assert stored[onnx.TensorProto.FLOAT16] > 5
    assert stored[onnx.TensorProto.FLOAT] == 0
    assert path.stat().st_size < 0.7 * fp32_onnx.stat().st_size
    result = verify(Embedder(groupface), Embedder(path), images)
    assert result.precision == "fp16"
    assert result.passed(), result.to_json()
    assert result.max_abs_error > 1e-6


def test_onnx_in_int8_keeps_embeddings_and_groups(groupface, int8_onnx, images):
    result = verify(Embedder(groupface), Embedder(int8_onnx), images)
    assert result.precision == "int8"
    assert all(flip.gap < 0.05 for flip in result.group_disagreements)
    other = {flip.image for flip in result.group_disagreements}
    same = [i for i in range(len(images)) if i not in other]
    assert len(same) >= 0.75 * len(images)
    assert result.cosine[same].mean() >= 0.995


def test_card_of_int8_onnx(int8_onnx, fp32_onnx):
    card = json.loads(int8_onnx.with_name("int8.onnx.json").read_text())
    assert card["format"] == "onnx"
    assert card["precision"] == "int8"
    cosines = card["int8"]["mean_cosine"]
    assert set(cosines) == {"min-max", "percentile", "mse"}
    assert cosines[card["int8"]["statistic"]] == max(cosines.values())
    assert {end["dtype"] for end in card["inputs"] + card["outputs"]} == {"float32"}
    assert int8_onnx.stat().st_size < 0.6 * fp32_onnx.stat().st_size


def test_int8_operators_in_onnx(int8_onnx, groupface):
    model = onnx.load(str(int8_onnx))
    found = operators(int8_onnx)
    assert found["QuantizeLinear"] >= 4
    assert found["DequantizeLinear"] > found["QuantizeLinear"]
    # The groups' kernels, (K, D, F), have one scale per row.
    kernel = groupface.ensemble.kernel.shape
    shapes = {tuple(t.dims): t.data_type for t in model.graph.initializer if len(t.dims) == 3}
    (whole,) = [shape for shape in shapes if np.prod(shape) == np.prod(kernel)]
    assert shapes[whole] == onnx.TensorProto.INT8
    assert shapes[*whole[:2], 1] == onnx.TensorProto.FLOAT
    # The gathered weights are not quantised again, so no QuantizeLinear reads them.
    (product,) = [n for n in model.graph.node if n.op_type == "MatMul" and _computed(model, n)]
    writers = {name: n for n in model.graph.node for name in n.output}
    assert writers[product.input[1]].op_type in ("Transpose", "Mul")


def _computed(model, node) -> bool:
    writers = {name: each for each in model.graph.node for name in each.output}
    return node.input[1] in writers and writers[node.input[1]].op_type != "DequantizeLinear"


def test_a_fixed_batch_in_int8_onnx(pointwise, faces, images, tmp_path):
    path = export_model(
        pointwise, tmp_path / "a.onnx", format="onnx", precision="int8", calibration=faces,
        batch_size=3,
    )  # fmt: skip
    model = onnx.load(str(path))
    ends = (*model.graph.input, *model.graph.output)
    assert [end.type.tensor_type.shape.dim[0].dim_value for end in ends] == [3, 3]
    assert verify(Embedder(pointwise), Embedder(path), images).mean_cosine >= 0.99


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "format", "message"),
    [
        ("int8", "savedmodel", "'int8' is for .*'tflite' or .*'onnx'; 'savedmodel' has fp32"),
        ("int4-weights", "onnx", "is for format='tflite'; 'onnx' has fp32, fp16, int8"),
        ("int8-dynamic", "onnx", "'int8-dynamic' is for format='tflite'"),
        ("int4", "tflite", "`precision` must be one of"),
    ],
)  # fmt: skip
def test_precisions_that_a_format_does_not_have(precision, format, message):  # noqa: A002
    with pytest.raises(ValueError, match=message):
        check_precision(precision, format)


def test_settings_that_onnx_does_not_have(pointwise, faces, tmp_path):
    with pytest.raises(ValueError, match="`int8` are for format='tflite'"):
        export_model(
            pointwise, tmp_path / "a.onnx", format="onnx", precision="int8", calibration=faces,
            int8=Int8Settings(outputs="int8"),
        )  # fmt: skip
    with pytest.raises(ValueError, match="at least 32 faces"):
        export_model(
            pointwise, tmp_path / "a.onnx", format="onnx", precision="int8", calibration=faces[:9]
        )
    assert not list(tmp_path.iterdir())
