"""What an .onnx gives for some images, at its end and on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.export.quantization.onnx_graph import constants, products
from gfkeras.export.quantization.running import Embeddings


def embed_onnx(content: bytes, images: np.ndarray) -> Embeddings:
    """Runs an .onnx with float ends, image by image.

    Args:
        content: of the file.
        images: (N, H, W, 3) float32.
    """
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
    """A float .onnx that shows what its convolutions and FCs read and give.

    Args:
        path: of the file.

    Call arguments:
        image: (H, W, 3).

    Returns:
        The name and value of each such tensor.

    Attributes:
        given: the input's name.
        computed: the names of these tensors.
    """

    def __init__(self, path: Path):
        onnx: Any = require("onnx", "export")
        model = onnx.load(str(path))
        known = constants(model)
        self.given: str = model.graph.input[0].name
        ends = [name for n in products(model) for name in (*n.input[:2], *n.output)]
        self.computed = tuple(dict.fromkeys(n for n in ends if n not in known))
        outputs = {output.name for output in model.graph.output}
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
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
