"""LiteRT and ONNX Runtime, which run .tflite and .onnx files on the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.backend import load_litert
from gfkeras.errors import reading, require, unreadable
from gfkeras.inference.runtimes.runtime import flushed_denormals, image_input, named_outputs
from gfkeras.onnx_files import load_onnx

# So few images at once that what flows between two layers stays in a core's own cache; one by one,
# the weights of a ResNet would be fetched for each.
_AT_ONCE = 2


class LiteRTRuntime:
    """Runs a .tflite file on the processor with XNNPACK; `num_threads` share a batch.

    A dynamic batch is run in parts of two images, and the input is resized only when their number
    changes. Integer inputs and outputs are converted. One thread may use it at a time; each further
    thread needs a `copy`, which runs the bytes that were read first, whatever happens to the file.
    """

    compiles = False
    good_batch = 16

    def __init__(self, path: Path, num_threads: int = 1, content: bytes | None = None):
        litert = load_litert()
        self._path = path
        # Not mapped: a file that is cut short or replaced meanwhile would end the process, or make
        # copies of another model.
        self._content = path.read_bytes() if content is None else content
        if not self._content:
            raise unreadable(path, "a TFLite model", "it is empty")
        # The interpreter raises ValueError or RuntimeError by the kind of damage.
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
        # XNNPACK flushes by itself; the kernels of what it does not have, do not.
        with flushed_denormals():
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
        """The same model with one thread, for a thread of its own: an interpreter serves one."""
        return LiteRTRuntime(self._path, 1, self._content)

    def _signature(self) -> tuple[dict, dict[str, int]]:
        """The input's details, and the tensor of each output."""
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
    """How a tensor holds real numbers: (integer − zero point)·scale; a scale of 0 means floats."""

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
    """The quantisation of a tensor's details."""
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    return _Integers(dtype, 0.0 if dtype == np.float32 else float(scale), int(zero_point))


class OnnxRuntime:
    """Runs an .onnx file on the processor; any number of threads may call it."""

    compiles = False
    good_batch = 8

    def __init__(self, path: Path, num_threads: int = 1):
        ort = require("onnxruntime", "onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # For the session's own threads; the one that calls it is `flushed_denormals`' business.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.intra_op_num_threads = num_threads
        # onnxruntime's exceptions share no base class but Exception.
        with reading(path, "an ONNX model", anything=True):
            # The session would open whatever files it names.
            load_onnx(path)
            with flushed_denormals():
                self._session = ort.InferenceSession(
                    str(path), options, providers=["CPUExecutionProvider"]
                )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path} must have one input. Received: {[i.name for i in inputs]}")
        self._input, shape = inputs[0].name, list(inputs[0].shape)
        # PyTorch's layout (B, 3, H, H); TensorFlow's has the channels last.
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
