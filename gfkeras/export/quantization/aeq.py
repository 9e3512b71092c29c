"""The calls to `ai-edge-quantizer`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.export.quantization.weight_recipes import weight_recipe

Ranges = Mapping[str, tuple[float, float]]


def quantize(
    path: Path, scheme: str, ranges: Ranges | None = None, float_layers: Sequence[str] = (),
    inputs: str = "float32", outputs: str = "float32",
) -> bytes:  # fmt: skip
    """A float .tflite in integers.

    Args:
        path: the float file.
        scheme: "int8": weights and activations, by channel and by tensor; else one of
            `weight_recipes.SCHEMES`.
        ranges: (low, high) of each tensor that is computed, for "int8".
        float_layers: regular expressions; operators whose output's name matches stay float.
        inputs, outputs: "float32" or "int8" at the model's ends, for "int8".
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
            for operation, end in ((names.INPUT, inputs), (names.OUTPUT, outputs)):
                if end == "float32":
                    work.update_quantization_recipe(".*", operation, algorithm_key="no_quantize")
        statistics = None
        if ranges is not None:
            statistics = {
                name: {"min": np.float32(low).reshape(1, 1, 1, 1),
                       "max": np.float32(high).reshape(1, 1, 1, 1)}
                for name, (low, high) in ranges.items()
            }  # fmt: skip
        return bytes(work.quantize(statistics).quantized_model)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without the quantiser's bars and summaries; errors say what they have to."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
