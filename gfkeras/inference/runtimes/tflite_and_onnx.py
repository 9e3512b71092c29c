"""Runtimes of .tflite files (LiteRT) and .onnx files (ONNX Runtime) on the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.backend import load_litert
from gfkeras.errors import reading, require, unreadable
from gfkeras.inference.runtimes.runtime import flushed_denormals, image_input, named_outputs
from gfkeras.onnx_files import load_onnx

# Number of images per call. With two, the activations between layers stay in the cache of a core.
# With one, the weights of a ResNet would be fetched again for each image.
_AT_ONCE = 2


class LiteRTRuntime:
    """Runs a .tflite file on the processor with XNNPACK and `num_threads` threads.

    A batch of any size is run in parts of two images. Integer inputs and outputs are converted from
    and to floats. Only one thread can use it at a time, and each further thread needs a `copy`. A
    copy runs the bytes that were read first, even if the file changes later.
    """

    compiles = False
    good_batch = 16

    def __init__(self, path: Path, num_threads: int = 1, content: bytes | None = None):
        litert = load_litert()
        self._path = path
        # The file is read instead of memory-mapped. If a mapped file were truncated, the process
        # would end. If it were replaced, copies would run another model.
        self._content = path.read_bytes() if content is None else content
        if not self._content:
            raise unreadable(path, "a TFLite model", "it is empty")
        # Depending on the damage, the interpreter raises ValueError or RuntimeError.
        with reading(path, "a TFLite model", anything=True):
            self._interpreter = litert.Interpreter(
                model_content=self._content, num_threads=num_threads
            )
            inputs, outputs = self._signature()
            self._input = inputs["index"]
        shape = [int(d) for d in inputs.get("shape_signature", inputs["shape"])]
        self.image_size, self.batch_size = image_input(shape, str(path))
        names = named_outputs(list(outputs), str(path))
        self._outputs = dict(zip(names, outputs.values(), strict=True))
        details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        self._input_integers = _integers(details[self._input])
        self._output_integers = {
            name: _integers(details[index]) for name, index in self._outputs.items()
        }
        self._allocated = 0

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        step = self.batch_size or _AT_ONCE
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        # XNNPACK flushes denormals itself, but LiteRT's other kernels do not.
        with flushed_denormals():
            # Resizing the input allocates all tensors again, so it is done only for a new size.
            if len(images) != self._allocated:
                self._interpreter.resize_tensor_input(self._input, images.shape, strict=True)
                self._interpreter.allocate_tensors()
                self._allocated = len(images)
            self._interpreter.set_tensor(self._input, self._input_integers.of(images))
            self._interpreter.invoke()
        return {
            name: self._output_integers[name].values(self._interpreter.get_tensor(index))
            for name, index in self._outputs.items()
        }

    def copy(self) -> LiteRTRuntime:
        """Returns the same model with one thread, for use by another thread."""
        return LiteRTRuntime(self._path, 1, self._content)

    def _signature(self) -> tuple[dict, dict[str, int]]:
        """Returns the input's details and the tensor index of each output."""
        if self._interpreter.get_signature_list():
            runner = self._interpreter.get_signature_runner()
            (inputs,) = runner.get_input_details().values()
            outputs = {n: d["index"] for n, d in runner.get_output_details().items()}
        else:
            (inputs,) = self._interpreter.get_input_details()
            outputs = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        return inputs, outputs


@dataclass(frozen=True, slots=True)
class _Integers:
    """Quantisation of a tensor: value = (integer − zero point)·scale. Scale 0 means floats."""

    dtype: type
    scale: float
    zero_point: int

    def of(self, values: np.ndarray) -> np.ndarray:
        if not self.scale:
            return values
        limits = np.iinfo(self.dtype)
        rounded = np.round(values / self.scale) + self.zero_point
        return np.clip(rounded, limits.min, limits.max).astype(self.dtype)

    def values(self, integers: np.ndarray) -> np.ndarray:
        if not self.scale:
            return integers
        return (integers.astype(np.float32) - self.zero_point) * np.float32(self.scale)


def _integers(detail: dict) -> _Integers:
    """Reads the quantisation from a tensor's details."""
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    return _Integers(dtype, 0.0 if dtype == np.float32 else float(scale), int(zero_point))


class OnnxRuntime:
    """Runs an .onnx file on the processor. Any number of threads can call it."""

    compiles = False
    good_batch = 8

    def __init__(self, path: Path, num_threads: int = 1):
        ort = require("onnxruntime", "onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # For the session's own threads. `flushed_denormals` is for the calling thread.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.intra_op_num_threads = num_threads
        # onnxruntime's exceptions have no common base class except Exception.
        with reading(path, "an ONNX model", anything=True):
            # This refuses a model with external data. The session would open any file it names.
            load_onnx(path)
            with flushed_denormals():
                self._session = ort.InferenceSession(
                    str(path), options, providers=["CPUExecutionProvider"]
                )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path} must have one input. Received: {[i.name for i in inputs]}")
        self._input, shape = inputs[0].name, list(inputs[0].shape)
        # Models from PyTorch take (B, 3, H, H). Models from TensorFlow have the channels last.
        self._channels_first = len(shape) == 4 and shape[1] == 3 and shape[3] != 3
        if self._channels_first:
            shape = [shape[0], *shape[2:], shape[1]]
        self.image_size, self.batch_size = image_input(shape, str(path))
        self._names = named_outputs([o.name for o in self._session.get_outputs()], str(path))

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if self._channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        with flushed_denormals():
            outputs = self._session.run(None, {self._input: images})
        return dict(zip(self._names, outputs, strict=True))
