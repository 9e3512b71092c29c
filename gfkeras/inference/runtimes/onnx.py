"""ONNX Runtime, which runs .onnx files."""

from pathlib import Path

import numpy as np

from gfkeras.errors import require
from gfkeras.inference.runtimes.runtime import (
    flushed_denormals,
    image_input,
    named_outputs,
    unreadable,
)


class OnnxRuntime:
    """Runs an .onnx file on the processor; `num_threads` share a batch."""

    compiles = False
    good_batch = 8

    def __init__(self, path: Path, num_threads: int = 1):
        ort = require("onnxruntime", "onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # For the session's own threads; the one that calls it is `flushed_denormals`' business.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.intra_op_num_threads = num_threads
        try:
            with flushed_denormals():
                self._session = ort.InferenceSession(
                    str(path), options, providers=["CPUExecutionProvider"]
                )
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise unreadable(path, "an ONNX model", error) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path} must have one input. Received: {[i.name for i in inputs]}")
        self._input = inputs[0].name
        self.image_size, self.batch_size = image_input(inputs[0].shape, str(path))
        self._names = named_outputs([o.name for o in self._session.get_outputs()], str(path))

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with flushed_denormals():
            outputs = self._session.run(None, {self._input: images})
        return dict(zip(self._names, outputs, strict=True))
