"""Files with code instead of weights or besides them. The code never runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from bounded import refusal
from torch_archive import tensor_pickle, torch_archive

import gfkeras
from gfkeras.zoo import import_weights
from gfkeras.zoo.foreign import read_torch_state


class Command:
    """Code that `pickle.load` would run."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it ran".replace(" ", "_")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("form", ["zip", "bare", "nested"])
def test_a_pickle_that_runs_a_command_runs_nothing(tmp_path, marker, form, protocol):
    hostile = Command(marker)
    value = {"state_dict": {"conv1.weight": hostile}} if form == "nested" else hostile
    data = pickle.dumps(value, protocol)
    # The trap works with a plain `pickle.load`.
    pickle.loads(data)
    assert marker.exists()
    marker.unlink()
    path = tmp_path / "model.pt"
    if form == "bare":
        path.write_bytes(data)
    else:
        torch_archive(path, data)
    with pytest.raises(
        ValueError, match=r"refused: its pickle asks for (posix|nt)\.system.*No code in it was run"
    ):
        import_weights(path, "torch")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["builtins eval", "builtins getattr", "numpy load", "torch load"])
def test_names_beside_tensors_are_refused(tmp_path, name):
    module, function = name.split()
    data = f"c{module}\n{function}\n(S'x'\ntR.".encode()
    torch_archive(tmp_path / "model.pt", data)
    with pytest.raises(ValueError, match=rf"{module}\.{function}"):
        read_torch_state(tmp_path / "model.pt")


def test_a_tensor_is_read_with_its_strides(tmp_path):
    values = np.arange(4, dtype="<f4")
    torch_archive(tmp_path / "t.pt", tensor_pickle((2, 2), (1, 2)), {"0": values.tobytes()})
    np.testing.assert_array_equal(read_torch_state(tmp_path / "t.pt")["w"], [[0, 2], [1, 3]])


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2, 2), (4, 1), 0),
        ((2,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2**40, 2**40), (0, 0), 0),
        ((2,), (1, 1), 0),
        ((4,), (1,), -2),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, size, stride, offset):
    data = tensor_pickle(size, stride, offset)
    torch_archive(tmp_path / "t.pt", data, {"0": np.zeros(4, "<f4").tobytes()})
    with pytest.raises(ValueError, match=r"t\.pt cannot be read"):
        read_torch_state(tmp_path / "t.pt")


def test_torchscript_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", pickle.dumps({}))
        archive.writestr("script/constants.pkl", pickle.dumps(()))
    with pytest.raises(ValueError, match="TorchScript archive, which contains code"):
        import_weights(tmp_path / "script.pt")


PAGE = b"<!DOCTYPE html>\n<html><head><title>Quota exceeded</title></head></html>"


@pytest.mark.parametrize("name", ["w.onnx", "w.pt", "w.safetensors", "w.params", "w.h5", "w"])
def test_a_web_page_is_called_one(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PAGE)
    with pytest.raises(ValueError, match="is a web page, not weights"):
        import_weights(path)


@pytest.mark.parametrize("kind", ["onnx", "torch", "safetensors", "mxnet", "keras"])
@pytest.mark.parametrize("data", [b"", PAGE, b"\x80\x02.", b"\x00" * 64, os.urandom(4096)])
def test_garbage_in_each_format_is_refused(tmp_path, kind, data):
    path = tmp_path / "weights.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"weights\.bin"):
        import_weights(path, kind)


def test_a_pointer_of_git_lfs_is_called_one(tmp_path):
    path = tmp_path / "w.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        import_weights(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="which does not exist"):
        import_weights(tmp_path / "nothing.pt")
    with pytest.raises(ValueError, match="a folder"):
        import_weights(tmp_path)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="did you mean 'onnx'"):
        import_weights(tmp_path / "x.pt", "onx")


def test_a_safetensors_header_of_any_length_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b'{"w": 1}')
    with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
        import_weights(path)


def onnx_model(*nodes, initializers=(), inputs=("x",)):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    values = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 112, 112]) for n in inputs
    ]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 112, 112])
    graph = helper.make_graph(list(nodes), "g", values, [output], list(initializers))
    buffer = io.BytesIO()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("location", ["/etc/passwd", "secret"])
def test_onnx_weights_beside_the_file_are_not_followed(location, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(bytes(4 * 64 * 27))
    monkeypatch.chdir(tmp_path)
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[64, 3, 3, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    (tmp_path / "w.onnx").write_bytes(onnx_model(node, initializers=[tensor]))
    with pytest.raises(ValueError, match=r"w\.onnx is refused: its tensor 'w' is in another file"):
        import_weights(tmp_path / "w.onnx")


def test_another_onnx_graph_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    (tmp_path / "w.onnx").write_bytes(onnx_model(node))
    with pytest.raises(ValueError, match="no convolutions"):
        import_weights(tmp_path / "w.onnx")
    node = onnx.helper.make_node("Add", ["x", "z"], ["y"])
    (tmp_path / "w.onnx").write_bytes(onnx_model(node, inputs=("x", "z")))
    with pytest.raises(ValueError, match="one input and one output"):
        import_weights(tmp_path / "w.onnx")


@pytest.mark.parametrize("read", [import_weights, gfkeras.Embedder])
def test_a_graph_of_millions_of_empty_parts_is_refused_within_a_gigabyte(read, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "w.onnx"
    # A ModelProto whose graph of 16 MiB has nodes without content alone.
    path.write_bytes(b"\x08\x08\x3a\x80\x80\x80\x08" + b"\x0a\x00" * (8 << 20))
    assert "w.onnx" in refusal(read, path, seconds=90)
