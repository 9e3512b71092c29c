"""Flushing of denormals while a network runs, in every runtime and thread, and only there."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from gfkeras.inference import Embedder
from gfkeras.inference.runtimes import LiteRTRuntime, OnnxRuntime
from gfkeras.inference.runtimes import runtime as denormals_module
from gfkeras.inference.runtimes.runtime import flushed_denormals
from gfkeras.layers import InputNormalization

pytestmark = pytest.mark.skipif(
    denormals_module._library() is None, reason="the flags cannot be set on this system"
)
SIZE = 16


def kept() -> bool:
    """Returns whether this thread computes with denormals."""
    return bool(np.float32(1e-39) * np.float32(1) != 0)


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_only_inside_and_only_this_thread():
    assert kept()
    entered, checked = threading.Event(), threading.Event()

    def elsewhere():
        with flushed_denormals():
            entered.set()
            checked.wait(10)
            return kept()

    found = []
    thread = threading.Thread(target=lambda: found.append(elsewhere()))
    thread.start()
    assert entered.wait(10)
    assert kept()
    checked.set()
    thread.join()
    assert found == [False]
    with flushed_denormals():
        with flushed_denormals():
            assert not kept()
        # The flags are the same as before the block.
        assert not kept()
        assert np.float32(1e-37) * np.float32(10) > 0
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert kept()
    assert in_a_thread(kept)


def onnx_file(folder: Path) -> Path:
    """y = 1e-21 (1e-21 x). The inner product is denormal for any pixel."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "tiny"], ["small"]),
            helper.make_node("Mul", ["small", "tiny"], ["denormal"]),
            helper.make_node("Flatten", ["denormal"], ["y"]),
        ],
        "denormal",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3 * SIZE**2])],
        [helper.make_tensor("tiny", TensorProto.FLOAT, [1], [1e-21])],
    )
    opset = [helper.make_opsetid("", 18)]
    path = folder / "denormal.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_runtime_in_every_thread(tmp_path, threads):
    path = onnx_file(tmp_path)
    import onnxruntime

    images = np.full((2, SIZE, SIZE, 3), 200, np.float32)
    # ONNX Runtime's option counts only for the first session of a process. This is another one.
    plain = onnxruntime.InferenceSession(path)
    before = plain.run(None, {"x": images})[0]
    runtime = OnnxRuntime(path, threads)
    assert kept()
    assert (before > 0).all()
    for found in (runtime.run(images), in_a_thread(lambda: runtime.run(images))):
        assert found["embedding"].shape == before.shape
        assert not found["embedding"].any()
    assert kept()


def test_litert_beyond_xnnpack(tmp_path):
    """XNNPACK flushes denormals itself, but it cannot compute a product over an axis."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("models are exported with KERAS_BACKEND=tensorflow")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    inputs = keras.Input((SIZE, SIZE, 3))
    product = keras.ops.prod(keras.layers.Rescaling(1e-15)(inputs), axis=-1)
    path = tmp_path / "denormal.tflite"
    flat = keras.layers.Flatten()(product)
    keras.Model(inputs, flat).export(str(path), format="litert", verbose=False)
    images = np.full((1, SIZE, SIZE, 3), 200, np.float32)
    plain = litert.Interpreter(str(path)).get_signature_runner()
    (name,) = plain.get_input_details()
    assert next(iter(plain(**{name: images}).values())).all()
    runtime = LiteRTRuntime(path)
    assert not runtime.run(images)["embedding"].any()
    assert not in_a_thread(lambda: runtime.copy().run(images)["embedding"].any())
    assert kept()


def network(factor: float) -> keras.Model:
    """Builds a network that multiplies half of its channels by `factor` twice.

    With 1e-20, all of their values are denormal.
    """
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIZE, SIZE, 3), name="images")
    x = InputNormalization()(inputs)
    first = keras.layers.Conv2D(16, 3, strides=2, use_bias=False)
    depthwise = keras.layers.DepthwiseConv2D(3, use_bias=False)
    last = keras.layers.Conv2D(16, 1)
    x = last(keras.layers.ReLU()(depthwise(keras.layers.ReLU()(first(x)))))
    x = keras.layers.Dense(8)(keras.layers.Flatten()(x))
    for layer in (first, depthwise):
        (weights,) = (keras.ops.convert_to_numpy(w).copy() for w in layer.weights)
        (weights[..., :8] if layer is first else weights[..., :8, :])[:] *= factor
        layer.set_weights([weights])
    return keras.Model(inputs, x)


@pytest.mark.parametrize("kind", ["keras", "tflite", "onnx", "savedmodel"])
def test_embeddings_are_those_without_the_channels(tmp_path, kind):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    expected = Embedder(network(0.0))(images).embedding
    model = network(1e-20)
    weights = [keras.ops.convert_to_numpy(w).copy() for w in model.weights]
    source = model
    if kind != "keras":
        if keras.backend.backend() != "tensorflow":
            pytest.skip("artefacts are exported with KERAS_BACKEND=tensorflow")
        from gfkeras.export import export_model

        source = export_model(model, tmp_path / f"model.{kind}", kind)
    found = Embedder(source)(images).embedding
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The given model has not changed.
    for now, before in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(now), before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.finfo(np.float32).smallest_subnormal > 0
