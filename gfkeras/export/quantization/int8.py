"""From a model to an int8 .tflite that embeds as the model does."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from gfkeras.export.preparation import INTEGER_STEPS, STEPS, flattened
from gfkeras.export.preparation.equalization import equalize
from gfkeras.export.preparation.float32 import float32_model
from gfkeras.export.preparation.observation import observe_channels
from gfkeras.export.quantization.aeq import quantize
from gfkeras.export.quantization.bias_correction import correct_biases
from gfkeras.export.quantization.calibration import Calibration
from gfkeras.export.quantization.compact import compact
from gfkeras.export.quantization.histogram import STATISTICS
from gfkeras.export.quantization.int8_settings import Int8Settings
from gfkeras.export.quantization.integer_outputs import integer_outputs
from gfkeras.export.quantization.integer_pixels import integer_pixels
from gfkeras.export.quantization.matching import by_nodes, by_tensors, tensors_of
from gfkeras.export.quantization.observing import observe
from gfkeras.export.quantization.qat import fine_tune, simulated
from gfkeras.export.quantization.running import Embeddings, embed
from gfkeras.export.quantization.sensitivity import (
    Sensitivity,
    pattern,
    sensitivities,
    within_latency,
)

# In place of a statistic: ends that fine-tuning learned.
QAT = "qat"

WriteFloat = Callable[[keras.Model, Path], None]


@dataclass(frozen=True, slots=True)
class Int8Result:
    """An int8 file, and how it came about.

    Attributes:
        content: of the .tflite or .onnx.
        statistic: which ranges were chosen; "qat" for those learned by fine-tuning.
        mean_cosine: to the float model on the faces kept back, by statistic, the earlier ones
            before fine-tuning.
        group_agreement: how many of them choose the float model's group; None without groups.
        sensitivities: of each layer, where a latency was given; the costliest first.
        float_layers: those that stayed float.
        simulated_cosine: of the fine-tuned simulation to the file, on the faces kept back; None
            without fine-tuning.
    """

    content: bytes
    statistic: str
    mean_cosine: dict[str, float]
    group_agreement: float | None = None
    sensitivities: tuple[Sensitivity, ...] = ()
    float_layers: tuple[str, ...] = ()
    simulated_cosine: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the content, for the artefact's card."""
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
    """Equalises, corrects biases, chooses ranges, fine-tunes where asked to, and quantises.

    Activations are int8 with one scale each, weights with one for each output channel. PReLU,
    which has no int8 kernel in XNNPACK, computes in float between two conversions; on CPUs that
    is faster than a product and a maximum in int8, and exact.

    Args:
        model: a `GroupFace`, or a functional model from images to an embedding.
        calibration: faces.
        write_float: writes a prepared Keras model as a float .tflite.
        mode: "soft" or "hard" of a GroupFace; its own by default.
        settings: what else there is to choose.

    Raises:
        NotRewritable: for a model that is not functional.
    """
    network = flattened(float32_model(model), mode)
    for step in INTEGER_STEPS if settings.integer_only else STEPS:
        step(network)
    kept_back = calibration.kept_back
    with tempfile.TemporaryDirectory() as folder:
        reference, teacher = Path(folder) / "reference.tflite", network.model()
        write_float(teacher, reference)
        expected = embed(reference.read_bytes(), kept_back)
        pixels = integer_pixels(network)
        equalize(network, observe_channels(network, calibration.seen).largest)
        correct_biases(network, observe_channels(network, calibration.seen).mean)
        path = Path(folder) / "equalized.tflite"
        write_float(network.model(), path)
        histograms = observe(path, calibration.seen)
        nodes = tensors_of(network, path, kept_back[0])
        exact = by_tensors(pixels, nodes)
        ranges = {
            statistic: {name: seen.range(statistic) for name, seen in histograms.items()} | exact
            for statistic in STATISTICS
        }

        def quantized(statistic: str, float_layers: Sequence[str], *ends: str) -> bytes:
            return quantize(path, "int8", ranges[statistic], float_layers, *ends)

        tried: dict[str, Embeddings] = {
            statistic: embed(quantized(statistic, ()), kept_back) for statistic in STATISTICS
        }
        cosines = {name: found.mean_cosine(expected) for name, found in tried.items()}
        best = max(cosines, key=lambda name: cosines[name])
        student = None
        if settings.qat is not None:
            by_node = by_nodes(ranges[best], nodes)
            student = fine_tune(network, by_node, teacher, calibration.learned, settings.qat)
            network, path = student.trained(), Path(folder) / "fine-tuned.tflite"
            write_float(network.model(), path)
            # Tensors inside a layer have no ends that were learned.
            seen = observe(path, calibration.seen)
            learned = by_tensors(student.ranges(), tensors_of(network, path, kept_back[0]))
            ranges[QAT] = {name: each.range(best) for name, each in seen.items()} | learned | exact
            best = QAT
        ranked: list[Sensitivity] = []
        float_layers: tuple[str, ...] = ()
        if settings.max_latency_ratio is not None:
            with_float = functools.partial(quantized, best)
            layers = [node.name for node in network if node.weights]
            ranked = sensitivities(with_float, layers, kept_back, expected)
            float_layers = within_latency(
                with_float, ranked, reference.read_bytes(), kept_back[0], settings.max_latency_ratio
            )
        patterns = [pattern(layer) for layer in float_layers]
        content = quantized(best, patterns, settings.inputs, settings.outputs)
        if settings.outputs == "int8":
            content = integer_outputs(content)
        found = embed(quantized(best, patterns), kept_back)
        simulation = None if student is None else simulated(student, kept_back)
    return Int8Result(
        content=compact(content),
        statistic=best,
        mean_cosine=cosines | {best: found.mean_cosine(expected)},
        group_agreement=found.group_agreement(expected),
        sensitivities=tuple(ranked),
        float_layers=float_layers,
        simulated_cosine=None if simulation is None else found.mean_cosine(simulation),
    )
