"""int8 .onnx files of QuantizeLinear and DequantizeLinear."""

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
from gfkeras.export.quantization.aeq import silent
from gfkeras.export.quantization.calibration import Calibration
from gfkeras.export.quantization.int8 import Int8Result, WriteFloat, correct_biases
from gfkeras.export.quantization.observing import STATISTICS, count
from gfkeras.export.quantization.onnx_graph import (
    OnnxTensors,
    constants,
    embed_onnx,
    products,
    quantize_group_kernels,
    short_names,
    with_batch,
)

Ranges = dict[str, tuple[float, float]]


def int8_onnx(
    model: keras.Model,
    calibration: Calibration,
    write_float: WriteFloat,
    mode: str | None,
    batch_size: int | None = None,
) -> Int8Result:
    """Equalises, corrects biases, chooses ranges and quantises, as `int8_tflite` does.

    Convolutions and FCs are int8 by onnxruntime's own quantiser: weights with a scale for each
    output channel, what they read and give as uint8, which x86 multiplies by int8 in one
    instruction. PReLU, as max(x, αx), and additions compute in float. In a hard ensemble the chosen
    group's weights are gathered as int8 and multiplied in float, since the quantiser would round
    what is gathered anew for each image.
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
        image = calibration.seen[0]
        made = {}
        for statistic in STATISTICS:
            ranges = {name: seen.range(statistic) for name, seen in histograms.items()}
            made[statistic] = quantize_onnx(path, ranges, image)
        found = {name: embed_onnx(content, kept_back) for name, content in made.items()}
    cosines = {name: each.mean_cosine(expected) for name, each in found.items()}
    best = max(cosines, key=lambda name: cosines[name])
    content = made[best] if batch_size is None else with_batch(made[best], batch_size)
    return Int8Result(content, best, cosines, found[best].group_agreement(expected))


def quantize_onnx(path: Path, ranges: Ranges, image: np.ndarray) -> bytes:
    """A float .onnx with its convolutions and FCs in integers.

    `ranges` are (low, high) of each tensor that these read or give; `image`, (H, W, 3), is any one
    that onnxruntime can look at.
    """
    onnx: Any = require("onnx", "export")
    quantization: Any = require("onnxruntime.quantization", "export")
    model = onnx.load(str(path))
    given = model.graph.input[0].name
    known = constants(model)
    computed = [node.name for node in products(model) if node.input[1] not in known]
    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }
    written = path.with_name("int8.onnx")
    with silent():
        quantization.quantize_static(
            str(path),
            str(written),
            _one_image(quantization, given, image),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            nodes_to_exclude=computed,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )
    model = onnx.load(str(written))
    quantize_group_kernels(model)
    short_names(model)
    model.producer_name = "gfkeras"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _one_image(quantization: Any, name: str, image: np.ndarray) -> Any:
    class OneImage(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        """The quantiser's own calibration, of which nothing is used: all ranges are given."""

        def __init__(self) -> None:
            self._batches: Iterator[dict[str, np.ndarray]] = iter(
                [{name: image[np.newaxis].astype(np.float32)}]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    return OneImage()
