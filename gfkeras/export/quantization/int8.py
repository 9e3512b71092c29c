"""int8 .tflite files with embeddings close to the float model's."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.errors import one_of
from gfkeras.export.preparation import INTEGER_STEPS, STEPS, channels
from gfkeras.export.preparation.equalization import equalize, observe_channels
from gfkeras.export.preparation.network import IMAGES, Network
from gfkeras.export.preparation.preparing import prepared_network
from gfkeras.export.quantization.aeq import Ranges, compact, integer_outputs, quantize
from gfkeras.export.quantization.calibration import Calibration, Embeddings, embed
from gfkeras.export.quantization.observing import PIXELS, STATISTICS, observe
from gfkeras.export.quantization.qat import QatSettings, fine_tune, simulated
from gfkeras.export.quantization.sensitivity import (
    Sensitivity,
    pattern,
    sensitivities,
    within_latency,
)
from gfkeras.export.quantization.simulation import Simulation, by_nodes, by_tensors, tensors_of

_LARGEST = 127
# Dtypes of a model's inputs and outputs.
ENDS = ("float32", "int8")

# Name of the ranges that fine-tuning learned, next to the statistics.
QAT = "qat"
WriteFloat = Callable[[keras.Model, Path], None]


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """Settings of an int8 export.

    Attributes:
        inputs, outputs: dtype of the model's inputs and outputs, "float32" or "int8".
        integer_only: whether all operators are integer operators, for processors without float
            arithmetic. PReLU becomes the larger of two products.
        max_latency_ratio: limit for the latency of int8 divided by the latency of float, for one
            image on one thread. The layers that lose most accuracy in int8 stay float, as many as
            the limit allows. By default no layer stays float.
        qat: settings of fine-tuning in int8. By default the network is not fine-tuned.
    """

    inputs: str = "float32"
    outputs: str = "float32"
    integer_only: bool = False
    max_latency_ratio: float | None = None
    qat: QatSettings | None = None

    def __post_init__(self) -> None:
        one_of("inputs", self.inputs, ENDS)
        one_of("outputs", self.outputs, ENDS)
        ratio = self.max_latency_ratio
        if ratio is not None and not ratio > 0:
            raise ValueError(f"`max_latency_ratio` must be positive. Received: {ratio}")
        if self.integer_only and ratio is not None:
            raise ValueError(
                "`max_latency_ratio` keeps layers in float, which `integer_only` forbids. "
                f"Received: integer_only=True, max_latency_ratio={ratio}"
            )


def correct_biases(network: Network, means: Mapping[str, np.ndarray]) -> None:
    """Subtracts E[Ŵx] − E[Wx] = (Ŵ − W)·E[x] from each bias (arXiv 1906.04721, section 4.2).

    Ŵ are the weights after rounding to int8 with a scale per output channel. `means` has the mean
    of each channel, (C,), by node. At the border of a convolution with padding, part of x is zero.
    The mean ignores that.
    """
    for node in network:
        (source, *others) = node.inputs
        if others or source not in means or not channels.takes_bias(node):
            continue
        kernel = np.asarray(node.weights[0], np.float64)
        # A depthwise kernel is (height, width, inputs, multiplier).
        depthwise = issubclass(node.layer, keras.layers.DepthwiseConv2D)
        axes = (2, 3) if depthwise else (kernel.ndim - 1,)
        error = replace(node, weights=(rounded(kernel, axes) - kernel,))
        network.nodes[node.name] = channels.shift_outputs(
            node, -channels.response(error, means[source])
        )


def rounded(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Returns a kernel after symmetric int8 quantisation with one scale per index of `axes`."""
    rest = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    scale = np.abs(kernel).max(axis=rest, keepdims=True) / _LARGEST
    # This avoids a division by zero for a channel of zeros.
    scale = np.where(scale > 0, scale, 1.0)
    return np.round(kernel / scale) * scale


def integer_pixels(network: Network) -> dict[str, tuple[float, float]]:
    """Subtracts whole numbers from the pixels and adds the remainder to biases.

    int8 represents zero exactly, which the padded border needs. With 127.5 subtracted, every pixel
    is half way between two int8 values, with 128, every pixel is one. The grey of the padding
    changes by that half. Returns the range of each such node, in which int8 has a step of 1.
    """
    found = {}
    for node in network:
        if node.inputs != (IMAGES,) or not issubclass(node.layer, channels.ChannelShift):
            continue
        readers = channels.readers_past_padding(network, node.name, channels.takes_bias)
        shift = np.asarray(node.weights[0], np.float64)
        whole = np.round(shift)
        if not readers or not np.all(whole == whole[0]):
            continue
        network.replace(node, weights=(whole,))
        for reader in readers:
            network.nodes[reader.name] = channels.shift_outputs(
                reader, channels.response(reader, shift - whole)
            )
        low, high = PIXELS
        found[node.name] = (low + float(whole[0]), high + float(whole[0]))
    return found


@dataclass(frozen=True, slots=True)
class Int8Result:
    """An int8 file and its measurements on the faces kept back.

    `statistic` is the name of the chosen ranges, "qat" if fine-tuning learned them. `mean_cosine`
    to the float model is by statistic. Fine-tuning is undone if it does not raise it, and
    `simulated_cosine` compares the fine-tuned simulation with the file. `sensitivities` are sorted,
    the largest first, and empty without `max_latency_ratio`. `float_layers` stayed float.
    """

    content: bytes
    statistic: str
    mean_cosine: dict[str, float]
    group_agreement: float | None = None
    sensitivities: tuple[Sensitivity, ...] = ()
    float_layers: tuple[str, ...] = ()
    simulated_cosine: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the measurements for the artefact's card."""
        return {
            "statistic": self.statistic,
            "mean_cosine": self.mean_cosine,
            "group_agreement": self.group_agreement,
            "float_layers": list(self.float_layers),
            "sensitivities": {each.layer: each.gain for each in self.sensitivities},
            "simulated_cosine": self.simulated_cosine,
        }


def int8_tflite(
    model: keras.Model,
    calibration: Calibration,
    write_float: WriteFloat,
    mode: str | None,
    settings: Int8Settings,
) -> Int8Result:
    """Equalises channels, corrects biases, chooses ranges, fine-tunes if asked, and quantises.

    Activations are int8 with one scale per tensor. Weights are int8 with one scale per output
    channel. XNNPACK has no int8 kernel for PReLU, so PReLU computes in float between two
    conversions. On CPUs that is exact, and faster than a product and a maximum in int8.
    """
    steps = INTEGER_STEPS if settings.integer_only else STEPS
    network = prepared_network(model, mode, steps)
    with tempfile.TemporaryDirectory() as folder:
        work = _Work(calibration, write_float, Path(folder))
        teacher = network.model()
        reference = work.write("reference", teacher).read_bytes()
        expected = embed(reference, calibration.kept_back)
        pixels = integer_pixels(network)
        # The means are measured again, because equalisation changes the channels.
        equalize(network, observe_channels(network, calibration.seen).largest)
        correct_biases(network, observe_channels(network, calibration.seen).mean)
        candidates = work.by_statistic(network, pixels)
        cosines = {each.statistic: each.cosine(calibration, expected) for each in candidates}
        best = max(candidates, key=lambda each: cosines[each.statistic])
        simulation = None
        if settings.qat is not None:
            student = fine_tune(
                network, best.by_node, teacher, calibration.learned, settings.qat, pixels
            )  # fmt: skip
            tuned = work.learned(student, pixels, best.statistic)
            cosines[QAT] = tuned.cosine(calibration, expected)
            if cosines[QAT] > cosines[best.statistic]:
                best, simulation = tuned, simulated(student, calibration.kept_back)
        ranked: list[Sensitivity] = []
        float_layers: tuple[str, ...] = ()
        if settings.max_latency_ratio is not None:
            layers = [node.name for node in network if node.weights]
            ranked = sensitivities(best.quantized, layers, calibration.kept_back, expected)
            float_layers = within_latency(
                best.quantized, ranked, reference, calibration.kept_back[0],
                settings.max_latency_ratio,
            )  # fmt: skip
        patterns = [pattern(layer) for layer in float_layers]
        content = best.quantized(patterns, settings.inputs, settings.outputs)
        if settings.outputs == "int8":
            content = integer_outputs(content)
        # Measured with float ends, because `embed` gives and reads floats.
        found = embed(best.quantized(patterns), calibration.kept_back)
    return Int8Result(
        content=compact(content),
        statistic=best.statistic,
        mean_cosine=cosines | {best.statistic: found.mean_cosine(expected)},
        group_agreement=found.group_agreement(expected),
        sensitivities=tuple(ranked),
        float_layers=float_layers,
        simulated_cosine=None if simulation is None else found.mean_cosine(simulation),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A float file, (low, high) of each of its tensors, and the node of each tensor."""

    statistic: str
    path: Path
    ranges: dict[str, tuple[float, float]]
    nodes: dict[str, str]

    @property
    def by_node(self) -> dict[str, tuple[float, float]]:
        return by_nodes(self.ranges, self.nodes)

    def quantized(self, float_layers: Sequence[str] = (), *ends: str) -> bytes:
        return quantize(self.path, "int8", self.ranges, float_layers, *ends)

    def cosine(self, calibration: Calibration, expected: Embeddings) -> float:
        """Returns the mean cosine to the float model on the faces kept back."""
        return embed(self.quantized(), calibration.kept_back).mean_cosine(expected)


@dataclass(frozen=True, slots=True)
class _Work:
    """Calibration faces, writer and folder for making candidates."""

    calibration: Calibration
    write_float: WriteFloat
    folder: Path

    def write(self, name: str, model: keras.Model) -> Path:
        path = self.folder / f"{name}.tflite"
        self.write_float(model, path)
        return path

    def by_statistic(self, network: Network, fixed: Ranges) -> list[_Candidate]:
        """Returns one candidate per statistic of the activations. `fixed` ranges stay the same."""
        path = self.write("equalized", network.model())
        nodes = tensors_of(network, path, self.calibration.kept_back[0])
        seen = observe(path, self.calibration.seen)
        exact = by_tensors(fixed, nodes)
        return [
            _Candidate(name, path, {k: v.range(name) for k, v in seen.items()} | exact, nodes)
            for name in STATISTICS
        ]

    def learned(self, student: Simulation, fixed: Ranges, statistic: str) -> _Candidate:
        """Returns the candidate with a student's network and ranges.

        The student has no ranges for tensors inside a layer. `statistic` chooses those.
        """
        network = student.trained()
        path = self.write("fine-tuned", network.model())
        nodes = tensors_of(network, path, self.calibration.kept_back[0])
        seen = observe(path, self.calibration.seen)
        ranges = {name: each.range(statistic) for name, each in seen.items()}
        learned = by_tensors({**student.ranges(), **fixed}, nodes)
        return _Candidate(QAT, path, ranges | learned, nodes)
