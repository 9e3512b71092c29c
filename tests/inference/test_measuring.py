"""Measurements of `gfkeras bench`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from gfkeras.inference.measuring import Operator, left_operators, measure
from gfkeras.inference.measuring import measurement as measuring
from gfkeras.inference.measuring.profiles import Call, Profile, litert_profile

if keras.backend.backend() != "tensorflow":
    pytest.skip("converting needs TensorFlow", allow_module_level=True)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    given = x = keras.Input((32, 32, 3), batch_size=1, name="images")
    for index, filters in enumerate((8, 12)):
        x = keras.layers.Conv2D(filters, 3, strides=2, name=f"conv{index}")(x)
        x = keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="ones", name=f"prelu{index}")(
            x
        )
    return keras.Model(given, keras.layers.Dense(16, name="fc")(keras.layers.Flatten()(x)))


def converted(network: keras.Model, path, integers: bool):
    """Converts with TensorFlow's converter, which also turns PReLU into int8."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if integers:
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: [
            [rng.uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)] for _ in range(4)
        ]
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def stock(network, tmp_path_factory):
    return converted(network, tmp_path_factory.mktemp("stock") / "int8.tflite", True)


def onnx_file(path, features: int):
    """Writes a network with one fully connected layer of 3,072 × features weights."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(0).normal(size=(3072, features)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", features])],
        [numpy_helper.from_array(weights, "weights")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_operators_that_xnnpack_leaves_run_in_litert(stock):
    left = left_operators(stock)
    assert [(op.name, op.dtype) for op in left] == [("PRELU", "int8")] * 2
    assert ["prelu" in op.tensor for op in left] == [True, True]
    # LiteRT's profiler saw the same operators outside the delegate.
    calls = [call for call in litert_profile(stock, 3).calls if call.runner == "LiteRT"]
    assert {(call.name, call.index) for call in calls} == {(op.name, op.index) for op in left}


def test_a_float_file_is_taken_whole(network, tmp_path):
    path = converted(network, tmp_path / "float.tflite", False)
    assert left_operators(path) == ()
    profile = litert_profile(path, 3)
    kernels = {row.name: row.count for row in profile.operators()}
    assert {row.runner for row in profile.operators()} == {"XNNPACK"}
    assert kernels["PReLU (ND)"] == 2
    assert sum(row.microseconds for row in profile.operators()) <= profile.microseconds


def test_a_tflite_file(stock):
    found = measure(stock, threads=[2, 1], repeats=3, batch_size=2)
    assert [latency.threads for latency in found.latencies] == [2, 1]
    for latency in found.latencies:
        assert 0 < latency.latency_ms_median <= latency.latency_ms_p95
    assert found.peak_memory_bytes > 0
    (kind,) = found.not_taken
    assert (kind.name, kind.dtype, len(kind.operators)) == ("PRELU", "int8", 2)
    assert 0 <= kind.share <= 1
    told = found.to_json()
    assert told["latency_ms_median"] == told["threads"][0]["latency_ms_median"]
    assert told["size_bytes"] == stock.stat().st_size
    assert told["not_taken_by_xnnpack"][0]["operators"][0]["name"] == "PRELU"


def test_without_a_profiler_the_rest_is_measured(stock, monkeypatch):
    def dies(*_):
        raise RuntimeError("LiteRtCreateOptions of LiteRT gave status 3")

    monkeypatch.setattr(measuring, "litert_profile", dies)
    monkeypatch.setattr(measuring, "child_json", dies)
    found = measure(stock, threads=[1], repeats=3, batch_size=1)
    assert found.operators is None
    assert "gave status 3" in found.operators_missing
    assert found.peak_memory_bytes is None
    assert found.not_taken[0].share is None


def test_onnx_and_its_memory(tmp_path):
    small = measure(onnx_file(tmp_path / "s.onnx", 4), threads=[1], repeats=3, batch_size=1)
    assert {row.name: row.count for row in small.operators} == {"Flatten": 1, "MatMul": 1}
    assert {row.runner for row in small.operators} == {"CPU"}
    assert small.not_taken is None
    large = measure(onnx_file(tmp_path / "l.onnx", 2048), threads=[1], repeats=3, batch_size=1)
    weights = 4 * 3072 * 2048
    assert small.peak_memory_bytes < weights <= large.peak_memory_bytes


def test_means_over_the_faster_half():
    runs = [
        [Call("A", "X", -1, time), Call("B", "L", 7, 1.0), Call("A", "X", -1, 2 * time)]
        for time in (50.0, 1.0, 3.0)
    ]
    profile = Profile.of_runs(runs, [200.0, 10.0, 14.0])
    assert profile.microseconds == 12
    assert profile.operators() == (
        Operator("A", "X", 2, 6.0, 0.5),
        Operator("B", "L", 1, 1.0, pytest.approx(1 / 12)),
    )
    with pytest.raises(RuntimeError, match="differ"):
        Profile.of_runs([*runs, runs[0][:2]], [1.0] * 4)


def test_tensorflows_threads_are_not_chosen_here(tmp_path):
    with pytest.raises(ValueError, match=r"`threads` goes with a \.tflite or an \.onnx file\."):
        measure(tmp_path, threads=[1])
    with pytest.raises(ValueError, match="`repeats` must be at least 3"):
        measure(tmp_path, repeats=2)
    with pytest.raises(ValueError, match="which does not exist"):
        measure(tmp_path / "none.tflite", threads=[1])
