"""Artefacts without a card: damaged, of unknown normalisation, of another layout, malicious."""

from __future__ import annotations

import importlib
import struct

import numpy as np
import pytest
from PIL import Image
from processes import start_python

from gfkeras.backend import load_litert
from gfkeras.cli import main
from gfkeras.inference import Embedder
from gfkeras.inference.foreign_artefacts import ModelFile
from gfkeras.zoo.preset_files import artefact_path

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)


def onnx_file(path, shape, *, outside=False, wrong=False):
    """Writes a network that returns the mean of the upper left pixels, for either layout."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    axes = [2, 3] if shape[1] == 3 else [1, 2]
    scale = numpy_helper.from_array(np.ones(3, "f4"), "s")
    if outside:
        scale.ClearField("raw_data")
        scale.data_location = TensorProto.EXTERNAL
        scale.external_data.add(key="location", value=str(path.with_name("secret")))
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=axes, keepdims=0),
        helper.make_node("Mul", ["m", "s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [scale],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.mark.parametrize("shape", [["N", 3, 112, 112], ["N", 112, 112, 3], [2, 3, 112, 112]])
def test_both_layouts_are_opened(shape, tmp_path):
    path = onnx_file(tmp_path / "m.onnx", shape)
    found = Embedder(path, input_range=(-1, 1)).outputs(IMAGES)["embedding"]
    expected = (IMAGES / 127.5 - 1).mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_unknown_normalisation_is_asked_for(tmp_path, capfd):
    path = onnx_file(tmp_path / "m.onnx", ["N", 3, 112, 112])
    with pytest.raises(ValueError, match=r"no card.*`input_range`.*probe") as caught:
        Embedder(path)
    assert all(f"{name}: " in str(caught.value) for name in ("0,255", "0,1", "-1,1"))
    face = tmp_path / "a.png"
    Image.fromarray(IMAGES[0]).save(face)
    out = ["--out", str(tmp_path / "e.npz")]
    embed = ["embed", str(face), "--aligned", "--model", str(path), *out]
    assert main(embed) == 2
    assert "--input-range" in capfd.readouterr().err
    assert main([*embed, "--input-range", "-1,1", "--trust"]) == 0
    assert main([*embed, "--input-range", "1"]) == 2
    assert "two finite numbers" in capfd.readouterr().err


def test_each_range_is_another_model(tmp_path):
    path = onnx_file(tmp_path / "m.onnx", ["N", 3, 112, 112])
    ranges = [(-1, 1), (0, 1), (0, 255)]
    assert len({Embedder(path, input_range=each).fingerprint for each in ranges}) == 3
    opened = Embedder(ModelFile(str(path), input_range=(0, 1)))
    assert opened.fingerprint == Embedder(path, input_range=(0, 1)).fingerprint


@pytest.mark.parametrize("wrong", [(1, 1), (1, -1), (0, np.inf), (0,), "0,1", 5, (0, "x")])
def test_a_range_is_two_numbers(wrong, tmp_path):
    path = onnx_file(tmp_path / "m.onnx", ["N", 3, 112, 112])
    with pytest.raises(ValueError, match="`input_range` must be two finite numbers"):
        Embedder(path, input_range=wrong)


def test_an_artefact_with_a_card_needs_no_range():
    with pytest.raises(ValueError, match="without a card"):
        Embedder(artefact_path("h_groupface_mobilefacenet"), input_range=(-1, 1))
    with pytest.raises(ValueError, match="without a card"):
        Embedder("h_groupface_mobilefacenet", input_range=(-1, 1))


def test_weights_beside_an_onnx_file_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(np.ones(3, "f4").tobytes())
    path = onnx_file(tmp_path / "m.onnx", ["N", 3, 112, 112], outside=True)
    with pytest.raises(ValueError, match="'s' is in another file"):
        Embedder(path, input_range=(0, 1))


# == Damaged .tflite ===============================================================================


class Tables:
    """The tables of a .tflite by their numbers in the schema, for changing single values."""

    def __init__(self, content: bytes):
        self.content = bytearray(content)
        self.subgraph = self.tables(self.number(0), 2)[0]
        self.operators = self.tables(self.subgraph, 3)

    def number(self, at, kind="<I"):
        return struct.unpack_from(kind, self.content, at)[0]

    def field(self, table, index):
        head = table - self.number(table, "<i")
        if 4 + 2 * index >= self.number(head, "<H"):
            return 0
        offset = self.number(head + 4 + 2 * index, "<H")
        return table + offset if offset else 0

    def vector(self, table, index):
        at = self.field(table, index)
        start = at + self.number(at) if at else 0
        return (start + 4, self.number(start)) if at else (0, 0)

    def tables(self, table, index):
        start, count = self.vector(table, index)
        return [start + 4 * n + self.number(start + 4 * n) for n in range(count)]

    def put(self, at, value):
        struct.pack_into("<i", self.content, at, value)
        return bytes(self.content)


def wrong_filters(tables):
    for each in tables.tables(tables.subgraph, 0):
        start, count = tables.vector(each, 0)
        if count == 4:
            tables.put(start, 0)
    return bytes(tables.content)


def huge_image(tables):
    images = tables.number(tables.vector(tables.subgraph, 1)[0])
    for field in (0, 7):
        start, count = tables.vector(tables.tables(tables.subgraph, 0)[images], field)
        for side in range(1, 3) if count == 4 else ():
            tables.put(start + 4 * side, 1 << 20)
    return bytes(tables.content)


DAMAGES = {
    "cut": lambda t: bytes(t.content[: len(t.content) // 2]),
    "empty": lambda t: b"",
    "zeros": lambda t: bytes(5000),
    "input far out": lambda t: t.put(t.vector(t.operators[3], 1)[0], 0x7FFFFFF0),
    "input below 0": lambda t: t.put(t.vector(t.operators[3], 1)[0], -5),
    "output far out": lambda t: t.put(t.vector(t.operators[3], 2)[0], 0x7FFFFFF0),
    "network's output": lambda t: t.put(t.vector(t.subgraph, 2)[0], 1 << 30),
    "filters of no size": wrong_filters,
    "huge image": huge_image,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_tflite_is_one_line(kind, tmp_path):
    load_litert()
    whole = artefact_path("h_groupface_mobilefacenet").read_bytes()
    path = tmp_path / "bad.tflite"
    path.write_bytes(DAMAGES[kind](Tables(whole)))
    with pytest.raises(ValueError, match=r"bad\.tflite"):
        Embedder(path)


def test_a_crash_of_the_child_does_not_end_the_caller(tmp_path, monkeypatch):
    from gfkeras.preflight import check_in_child

    (tmp_path / "trap.py").write_text(
        "import os, signal, time\n"
        "def crash(path):\n    path and os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def refuse(path):\n    if path: raise ValueError('no such thing')\n"
        "def grow(path):\n    path and bytes(3 << 30)\n"
        "def good(path):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trap = importlib.import_module("trap")
    (tmp_path / "x").write_bytes(b"")
    for name, said in [("crash", "SIGSEGV"), ("refuse", "no such thing"), ("grow", "MemoryError")]:
        with pytest.raises(ValueError, match=f"x cannot be read as a file.*{said}"):
            check_in_child(getattr(trap, name), tmp_path / "x", "a file")
    check_in_child(trap.good, tmp_path / "x", "a file")


# == SavedModels ===================================================================================

SAVED = """
import sys, json, os, numpy as np, tensorflow as tf
from gfkeras.inference import Embedder
folder, mark = sys.argv[1:]
open(mark + ".txt", "w").write("x")
ops = tf.raw_ops
BODIES = {
    "WriteFile": lambda x: tf.io.write_file(mark, "written"),
    "ReadFile": lambda x: tf.io.read_file(mark + ".txt"),
    "MatchingFiles": lambda x: tf.io.matching_files(mark + "*"),
    "SaveV2": lambda x: ops.SaveV2(
        prefix=mark, tensor_names=["a"], shape_and_slices=[""], tensors=[x]),
    "RestoreV2": lambda x: ops.RestoreV2(
        prefix=mark, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]),
    "PrintV2": lambda x: tf.print("x", output_stream="file://" + mark),
    "EagerPyFunc": lambda x: tf.py_function(lambda: 1.0, [], tf.float32),
    "ImmutableConst": lambda x: ops.ImmutableConst(
        dtype=tf.float32, shape=[1], memory_region_name=mark),
}
for name, body in BODIES.items():
    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 112, 112, 3), tf.float32, "images")])
        def serve(self, images):
            # Inside of a branch, which is a function of its own.
            taken = tf.reduce_sum(images) > -1.0
            made = tf.cond(taken, lambda: (body(images), 1.0)[1], lambda: 2.0)
            return {"embedding": tf.reduce_mean(images, axis=(1, 2)) + made}
    net = Net()
    path = os.path.join(folder, name)
    tf.saved_model.save(net, path, signatures={"serving_default": net.serve})
    try:
        Embedder(path, input_range=(0, 1))
        print(json.dumps([name, "opened"]))
    except ValueError as error:
        print(json.dumps([name, str(error)]))
assert not os.path.exists(mark)
path = os.path.join(folder, "WriteFile")
Embedder(path, input_range=(0, 1), trust=True)(np.zeros((1, 112, 112, 3), "f4"))
assert os.path.exists(mark)
"""


def test_a_savedmodel_that_reaches_files_is_refused(tmp_path):
    (tmp_path / "models").mkdir()
    process = start_python(SAVED, str(tmp_path / "models"), str(tmp_path / "mark"), forked=True)
    found = dict(process.literals())
    assert len(found) == 8
    for name, said in found.items():
        assert "can reach files or run programs" in said, (name, said)
        assert f"{name} (in " in said
        assert "trust=True" in said
