"""Quantisation by `ai-edge-quantizer`: its recipes, and edits of TFLite files as objects."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require


def unpacked(content: bytes) -> Any:
    """Returns the `ModelT` of ai_edge_litert's schema, with the contents of all buffers."""
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:
        # The content of this buffer is stored behind the flatbuffer, not in it.
        if buffer.offset > 1:
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """Returns the file of a `ModelT`, in which equal vectors are written once."""
    flatbuffers: Any = require("flatbuffers", "export")
    builder = _sharing_builder(flatbuffers)(2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sharing_builder(flatbuffers: Any) -> type:
    class SharingBuilder(flatbuffers.Builder):  # type: ignore[name-defined,misc]
        """Writes a vector that it has already written as a reference to the first one."""

        def __init__(self, size: int):
            super().__init__(size)
            self._vectors: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            key = (x.dtype.str, x.tobytes())
            if key not in self._vectors:
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

    return SharingBuilder


def compact(content: bytes) -> bytes:
    """Returns the same model in fewer bytes, with short names and without repeated vectors.

    A tensor with one scale per channel also has a zero point of 8 bytes per channel, and all of
    them are zero. The converter builds a tensor's name from all operations that were fused into it.
    Both together are 15 % of MobileFaceNet's int8 file. Inputs and outputs keep their names.
    """
    model = unpacked(content)
    for graph in model.subgraphs:
        _shorten(graph)
    return packed(model)


def _shorten(graph: Any) -> None:
    """Names tensors after their layer, with a number if the layer has several."""
    kept = {*graph.inputs, *graph.outputs}
    seen: dict[str, int] = {}
    for index, tensor in enumerate(graph.tensors):
        if index in kept:
            continue
        layer = layer_name((tensor.name or b"").decode())
        seen[layer] = number = seen.get(layer, 0) + 1
        tensor.name = (layer if number == 1 else f"{layer}:{number}").encode()


def layer_name(tensor: str) -> str:
    """Returns the name of the Keras layer in a tensor's name."""
    # A fused tensor: functional_3_1/stem_conv_1/BiasAdd;functional_3_1/stem_conv_1/convolution
    parts = tensor.partition(";")[0].split("/")
    return (parts[1] if len(parts) > 2 else parts[-1]).removesuffix("_1")


def integer_outputs(content: bytes) -> bytes:
    """Replaces each output that is converted to float at the end by the int8 value before it.

    If other operators read an output in float, ai-edge-quantizer keeps the conversion but names the
    int8 value in the signature. An example is the group logits, which argmax reads. No runtime can
    run such a file.
    """
    schema: Any = require("ai_edge_litert.schema_py_generated", "export")
    model = unpacked(content)
    dequantize = schema.BuiltinOperator.DEQUANTIZE
    codes = {i for i, code in enumerate(model.operatorCodes) if code.builtinCode == dequantize}
    (graph,) = model.subgraphs
    before = {op.outputs[0]: op.inputs[0] for op in graph.operators if op.opcodeIndex in codes}
    graph.outputs = [before.get(output, output) for output in graph.outputs]
    for signature in model.signatureDefs:
        for output in signature.outputs:
            output.tensorIndex = before.get(output.tensorIndex, output.tensorIndex)
    return packed(model)


SCHEMES = ("int8-dynamic", "int8-weights", "int4-dynamic", "int4-weights")
# The smallest layers stay int8, up to this share of all weights. In MobileFaceNet they cause half
# of the loss of int4, and keeping them in int8 makes the file only 5 % larger.
_INT8_SHARE = 0.1
# Number of inputs that share a scale in int4-dynamic. XNNPACK has no smaller blocks.
_BLOCK = 32

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Constant weights of a "CONV_2D" or "FULLY_CONNECTED" operator.

    A recipe selects the operator by `output`, the name of its output tensor. `layer` is the name of
    the Keras layer, or of the model's output, and `inputs` the length of the last axis.
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
    """Quantizes a float .tflite and returns the content of the quantised file.

    The scheme is "int8" (weights by channel, activations by tensor), or one of `SCHEMES`. "int8"
    needs `ranges`, (low, high) of each computed tensor, and has `inputs` and `outputs` in "float32"
    or "int8". Operators whose output name matches a regular expression in `float_layers` stay
    float.
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
