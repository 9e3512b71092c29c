"""int8 .onnx files with QuantizeLinear and DequantizeLinear."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.errors import require
from gfkeras.export.preparation import INTEGER_STEPS
from gfkeras.export.preparation.equalization import equalize, observe_channels
from gfkeras.export.preparation.preparing import prepared_network
from gfkeras.export.quantization.aeq import Ranges, silent
from gfkeras.export.quantization.calibration import Calibration, Embeddings
from gfkeras.export.quantization.int8 import Int8Result, WriteFloat, correct_biases
from gfkeras.export.quantization.observing import STATISTICS, count

# Operators that compute in int8.
PRODUCTS = ("Conv", "MatMul")
_LARGEST = 127


def int8_onnx(
    model: keras.Model,
    calibration: Calibration,
    write_float: WriteFloat,
    mode: str | None,
    batch_size: int | None = None,
) -> Int8Result:
    """Equalises channels, corrects biases, chooses ranges and quantises, like `int8_tflite`.

    onnxruntime's quantiser turns convolutions and FCs into int8. Weights are int8 with one scale
    per output channel. Inputs and outputs are uint8, because x86 multiplies uint8 by int8 in one
    instruction. PReLU, written as max(x, αx), and additions compute in float. A hard ensemble
    gathers the chosen group's weights in int8 and multiplies them in float. The quantiser would
    instead round the gathered weights again for each image.
    """
    network = prepared_network(model, mode, INTEGER_STEPS)
    kept_back = calibration.kept_back
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        write_float(network.model(), path)
        expected = embed_onnx(path.read_bytes(), kept_back)
        equalize(network, observe_channels(network, calibration.seen).largest)
        correct_biases(network, observe_channels(network, calibration.seen).mean)
        write_float(network.model(), path)
        histograms = count(OnnxTensors(path), calibration.seen)
        made = {}
        for statistic in STATISTICS:
            ranges = {name: seen.range(statistic) for name, seen in histograms.items()}
            made[statistic] = quantize_onnx(path, ranges, calibration.seen[0])
        found = {name: embed_onnx(content, kept_back) for name, content in made.items()}
    cosines = {name: each.mean_cosine(expected) for name, each in found.items()}
    best = max(cosines, key=lambda name: cosines[name])
    content = made[best] if batch_size is None else with_batch(made[best], batch_size)
    return Int8Result(content, best, cosines, found[best].group_agreement(expected))


def quantize_onnx(path: Path, ranges: Ranges, image: np.ndarray) -> bytes:
    """Returns a float .onnx file with its convolutions and FCs in integers.

    `ranges` has (low, high) of their inputs and outputs. onnxruntime needs any `image` for its
    calibration.
    """
    onnx: Any = require("onnx", "export")
    quantization: Any = require("onnxruntime.quantization", "export")
    model = onnx.load(str(path))
    given = model.graph.input[0].name
    known = constants(model)
    # A product with gathered weights stays float (see `int8_onnx`).
    computed = [node.name for node in products(model) if node.input[1] not in known]
    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }
    written = path.with_name("int8.onnx")
    with silent():
        quantization.quantize_static(
            str(path), str(written), _one_image(quantization, given, image),
            quant_format=quantization.QuantFormat.QDQ, op_types_to_quantize=list(PRODUCTS),
            nodes_to_exclude=computed, per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )  # fmt: skip
    model = onnx.load(str(written))
    quantize_group_kernels(model)
    short_names(model)
    model.producer_name = "gfkeras"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _one_image(quantization: Any, name: str, image: np.ndarray) -> Any:
    class OneImage(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        """Satisfies the quantiser's own calibration, whose result the given ranges replace."""

        def __init__(self) -> None:
            self._batches = iter([{name: image[np.newaxis].astype(np.float32)}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    return OneImage()


def products(model: Any) -> list[Any]:
    """Returns the nodes that compute in int8."""
    return [node for node in model.graph.node if node.op_type in PRODUCTS]


def constants(model: Any) -> set[str]:
    """Returns the names of the tensors stored in the file."""
    return {tensor.name for tensor in model.graph.initializer}


def short_names(model: Any) -> None:
    """Replaces the names inside a graph by numbers and removes shapes.

    A quantised graph has six names for each operator. Names and shapes are a fifth of
    MobileFaceNet's int8 file. The names of inputs and outputs stay.
    """
    graph = model.graph
    names = {each.name: each.name for each in (*graph.input, *graph.output)}
    # The empty name marks an optional input that is not used.
    names[""] = ""

    def short(name: str) -> str:
        return names.setdefault(name, str(len(names)))

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}{index}"
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        node.doc_string = ""
    del graph.value_info[:]


def with_batch(content: bytes, batch_size: int) -> bytes:
    """Returns a file for any batch size as a file for this batch size."""
    onnx: Any = require("onnx", "export")
    model = onnx.load_from_string(content)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = batch_size
    return bytes(model.SerializeToString())


def quantize_group_kernels(model: Any) -> None:
    """Stores each gathered kernel with three axes as int8 with one scale per row, in place.

    The graph then gathers one group's weights and scales and multiplies them: W[k] = s[k]·Ŵ[k].
    """
    onnx: Any = require("onnx", "export")
    graph = model.graph
    kernels = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 2
    }
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in kernels:
            nodes.append(node)
            continue
        kernel = kernels[node.input[0]]
        values = onnx.numpy_helper.to_array(kernel)
        scale = np.abs(values).max(axis=-1, keepdims=True) / _LARGEST
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        integers = np.round(values / scale).astype(np.int8)
        name, index, result = kernel.name, node.input[1], node.output[0]
        # `from_array` stores raw bytes. A field of numbers would take up to 10 bytes per int8.
        kernel.CopyFrom(onnx.numpy_helper.from_array(integers, name))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}/scale"))
        make = onnx.helper.make_node
        nodes += [
            make("Gather", [name, index], [f"{result}/int8"], axis=0),
            make("Gather", [f"{name}/scale", index], [f"{result}/scale"], axis=0),
            make("Cast", [f"{result}/int8"], [f"{result}/cast"], to=onnx.TensorProto.FLOAT),
            make("Mul", [f"{result}/cast", f"{result}/scale"], [result]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def embed_onnx(content: bytes, images: np.ndarray) -> Embeddings:
    """Embeds (N, H, W, 3) float32 images one by one with an .onnx that has float ends."""
    session = _session(content)
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, {given.name: image[np.newaxis]}) for image in images]
    return Embeddings.of(
        {
            name: np.concatenate(each)
            for name, each in zip(names, zip(*rows, strict=True), strict=True)
        }
    )


class OnnxTensors:
    """A float .onnx that yields the inputs and outputs of its convolutions and FCs by name."""

    def __init__(self, path: Path):
        onnx: Any = require("onnx", "export")
        model = onnx.load(str(path))
        known = constants(model)
        self.given: str = model.graph.input[0].name
        ends = [name for n in products(model) for name in (*n.input[:2], *n.output)]
        self.computed = tuple(dict.fromkeys(n for n in ends if n not in known))
        outputs = {output.name for output in model.graph.output}
        # onnxruntime returns only outputs, so the tensors in between are declared as outputs too.
        for name in self.computed:
            if name not in outputs | {self.given}:
                shown = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                model.graph.output.append(shown)
        self._session = _session(model.SerializeToString())

    def __call__(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        batch = image[np.newaxis].astype(np.float32)
        names = [name for name in self.computed if name != self.given]
        values = self._session.run(names, {self.given: batch})
        yield from zip(names, values, strict=True)
        if self.given in self.computed:
            yield self.given, batch


def _session(content: bytes) -> Any:
    ort: Any = require("onnxruntime", "export")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # Errors only. Warnings about the graph cannot help a user of the export.
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
