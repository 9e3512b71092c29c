"""Files with changed or missing bytes are read, or refused with a ValueError."""

from __future__ import annotations

import json
import struct

import keras
import numpy as np
import pytest
from keras import layers
from torch_archive import tensor_pickle, torch_archive

from gfkeras.zoo.foreign.importing import import_weights, read_network


def write_onnx(path):
    onnx = pytest.importorskip("onnx")
    helper, rng = onnx.helper, np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 3, 3)).astype("float32")
    weights = {
        "w": kernel, "g": np.ones(4, "float32"), "b": np.zeros(4, "float32"),
        "m": np.zeros(4, "float32"), "v": np.ones(4, "float32"),
        "s": np.full((4, 1, 1), 0.25, "float32"),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("PRelu", ["n", "s"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g",
        [value("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("y", onnx.TensorProto.FLOAT, [1, 4, 8, 8])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]), path)


def write_torch(path):
    torch_archive(path, tensor_pickle((2, 2), (2, 1)), {"0": np.zeros(4, "<f4").tobytes()})


def write_safetensors(path):
    from safetensors.numpy import save_file

    save_file({"conv1.weight": np.zeros((4, 3, 3, 3), "float32")}, path)


def write_keras(path):
    images = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(layers.ZeroPadding2D(1)(images))
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    keras.Model(images, layers.Dense(2)(layers.Flatten()(x))).save(path)


def write_mxnet(path):
    weight = np.zeros((4, 3, 3, 3), "<f4")
    data = struct.pack("<QQQIiI4q", 0x112, 0, 1, 0xF993FAC9, 0, 4, *weight.shape)
    data += struct.pack("<iii", 1, 0, 0) + weight.tobytes()
    path.write_bytes(data + struct.pack("<QQ", 1, 12) + b"arg:c_weight")
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "c_weight", "inputs": []},
        {"op": "Convolution", "name": "c", "inputs": [[0, 0, 0], [1, 0, 0]],
         "attrs": {"kernel": "(3, 3)", "num_filter": "4"}},
    ]  # fmt: skip
    symbol = path.with_name("model-symbol.json")
    symbol.write_text(json.dumps({"nodes": nodes}))


CASES = {
    "onnx": (write_onnx, "model.onnx"),
    "torch": (write_torch, "model.pt"),
    "safetensors": (write_safetensors, "model.safetensors"),
    "keras": (write_keras, "model.keras"),
    "keras h5": (write_keras, "model.h5"),
    "mxnet": (write_mxnet, "model-0000.params"),
}


def outcome(kind: str, path) -> str:
    try:
        read_network(path, kind.partition(" ")[0])
    except ValueError as error:
        said = str(error)
    else:
        return "read"
    assert str(path.parent) in said
    return "refused"


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("way", ["changed", "cut", "noise"])
def test_only_value_errors(kind, way, tmp_path):
    write, name = CASES[kind]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(whole))
    found = set()
    for _ in range(120):
        data = bytearray(whole)
        if way == "changed":
            for place in rng.integers(0, len(data), rng.integers(1, 6)):
                data[place] = rng.integers(0, 256)
        elif way == "cut":
            del data[rng.integers(0, len(data)) :]
        else:
            start = int(rng.integers(0, len(data)))
            data[start : start + 64] = rng.bytes(64)
        path.write_bytes(data)
        found.add(outcome(kind, path))
    assert "refused" in found


@pytest.mark.parametrize("kind", ["mxnet"])
def test_a_damaged_symbol_too(kind, tmp_path):
    write_mxnet(tmp_path / "model-0000.params")
    symbol = tmp_path / "model-symbol.json"
    whole = symbol.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(32, 127)
        symbol.write_bytes(data)
        outcome(kind, tmp_path / "model-0000.params")


def test_a_prefix_hides_no_facenet(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    name = "module.conv2d_1a.conv.weight"
    safetensors.save_file({name: np.zeros((32, 3, 3, 3), "float32")}, tmp_path / "f.safetensors")
    with pytest.raises(ValueError, match="InceptionResnetV1: it lacks the values of the layers"):
        import_weights(tmp_path / "f.safetensors")
