"""Quantisation recipes for `ai-edge-quantizer` and calls to it."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.export.quantization.flatbuffer import layer_name, unpacked

SCHEMES = ("int8-dynamic", "int8-weights", "int4-dynamic", "int4-weights")
# The smallest layers stay int8, up to this share of all weights. In MobileFaceNet they cause half
# of the loss of int4, and keeping them in int8 makes the file only 5 % larger.
_INT8_SHARE = 0.1
# Number of inputs that share a scale in int4-dynamic. XNNPACK has no smaller blocks.
_BLOCK = 32

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Constant weights of one operator.

    Attributes:
        operation: "CONV_2D" or "FULLY_CONNECTED".
        output: name of the operator's output tensor, by which a recipe selects the operator.
        layer: name of the Keras layer, or of the model's output.
        size: number of weights.
        inputs: length of the last axis.
    """

    operation: str
    output: str
    layer: str
    size: int
    inputs: int


def weight_recipe(path: Path, scheme: str) -> list[dict[str, Any]]:
    """Returns the quantiser's recipe for a float .tflite in one of the `SCHEMES`.

    A "-weights" scheme converts the weights to float at run time. A "-dynamic" scheme computes
    fully connected operators in integers and rounds their inputs with one scale per row. If a
    pointwise convolution became such an operator, a row is a pixel. Other convolutions convert
    their weights to float in every scheme.
    """
    recipes: Any = require("ai_edge_quantizer.recipe_manager", "export")
    types: Any = require("ai_edge_quantizer.qtyping", "export")
    algorithms: Any = require("ai_edge_quantizer.algorithm_manager", "export")
    names, granularity = types.TFLOperationName, types.QuantGranularity
    recipe = recipes.RecipeManager()
    dense = names.FULLY_CONNECTED
    recipe.add_weight_only_config(".*", names.ALL_SUPPORTED, num_bits=8)
    if scheme.endswith("-dynamic"):
        recipe.add_dynamic_config(".*", dense, num_bits=8)
    for kernel in int4_kernels(path, scheme):
        # OCTAV (arXiv 2206.06501) clips the weights where the expected error is smallest. The
        # largest weight as the end would waste some of the 16 values.
        settings: dict[str, Any] = {"num_bits": 4, "algorithm_key": algorithms.AlgorithmName.OCTAV}
        where = (f"^{re.escape(kernel.output)};?$", names(kernel.operation))
        if scheme == "int4-weights":
            recipe.add_weight_only_config(*where, **settings)
            continue
        if kernel.inputs % _BLOCK == 0:
            settings["granularity"] = granularity(f"BLOCKWISE_{_BLOCK}")
        recipe.add_dynamic_config(*where, **settings)
    return list(recipe.get_quantization_recipe())


def int4_kernels(path: Path, scheme: str) -> list[Kernel]:
    """Returns the kernels that become int4: all that LiteRT supports, except the smallest."""
    if not scheme.startswith("int4-"):
        return []
    operations = {"FULLY_CONNECTED"} | ({"CONV_2D"} if scheme == "int4-weights" else set())
    found = sorted((k for k in _kernels(path) if k.operation in operations), key=lambda k: k.size)
    left = _INT8_SHARE * sum(kernel.size for kernel in found)
    chosen = []
    for kernel in found:
        left -= kernel.size
        if left < 0:
            chosen.append(kernel)
    return chosen


def _kernels(path: Path) -> list[Kernel]:
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = unpacked(path.read_bytes())
    names = {getattr(schema.BuiltinOperator, name): name for name in ("CONV_2D", "FULLY_CONNECTED")}
    ends = {end.tensorIndex: end.name for key in model.signatureDefs for end in key.outputs}
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = names.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if name is None:
                continue
            weights = graph.tensors[operator.inputs[1]]
            data = model.buffers[weights.buffer].data
            if data is None or not len(data):
                continue
            (index,) = operator.outputs
            output = graph.tensors[index].name.decode()
            layer = ends[index].decode() if index in ends else layer_name(output)
            *_, inputs = weights.shape
            found.append(Kernel(name, output, layer, len(data) // 4, int(inputs)))
    return found


def quantize(
    path: Path, scheme: str, ranges: Ranges | None = None, float_layers: Sequence[str] = (),
    inputs: str = "float32", outputs: str = "float32",
) -> bytes:  # fmt: skip
    """Quantizes a float .tflite.

    Args:
        path: the float file.
        scheme: "int8" (weights by channel, activations by tensor), or one of `SCHEMES`.
        ranges: (low, high) of each computed tensor, for "int8".
        float_layers: regular expressions. Operators with a matching output name stay float.
        inputs, outputs: "float32" or "int8" for the model's inputs and outputs, for "int8".

    Returns:
        The content of the quantised file.
    """
    quantizer: Any = require("ai_edge_quantizer.quantizer", "export")
    recipe: Any = require("ai_edge_quantizer.recipe", "export")
    types: Any = require("ai_edge_quantizer.qtyping", "export")
    names = types.TFLOperationName
    with silent():
        wanted = recipe.static_wi8_ai8() if scheme == "int8" else weight_recipe(path, scheme)
        work = quantizer.Quantizer(str(path), wanted)
        for pattern in float_layers:
            work.update_quantization_recipe(
                pattern, names.ALL_SUPPORTED, algorithm_key="no_quantize"
            )
        if scheme == "int8":
            # By default, the quantiser also quantises the model's inputs and outputs.
            for operation, end in ((names.INPUT, inputs), (names.OUTPUT, outputs)):
                if end == "float32":
                    work.update_quantization_recipe(".*", operation, algorithm_key="no_quantize")

        statistics = None if ranges is None else {
            name: {"min": np.full((1, 1, 1, 1), low, np.float32),
                   "max": np.full((1, 1, 1, 1), high, np.float32)}
            for name, (low, high) in ranges.items()
        }  # fmt: skip
        return bytes(work.quantize(statistics).quantized_model)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hides the quantiser's progress bars and summaries. Its errors are still raised."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
