"""Profile of a .tflite file by LiteRT's own profiler, for one image on one thread.

    python _litert_profiler.py FILE RUNS

LiteRT's Python package has no profiler, but its library has one with public C functions
(litert/c/litert_profiler.h). This script calls them in a process of its own. If another version of
LiteRT has different structures, only this process crashes.

It prints {"runs": [[[name, runner, index, µs], …], …], "totals": [µs, …]}.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np

# The values and structures below are those of LiteRT's C headers.
_LIBRARY = ctypes.CDLL(str(Path(next(iter(ai_edge_litert.__path__))) / "libLiteRt.so"))
_C = ctypes.CDLL(None)
_C.strdup.restype = ctypes.c_void_p
_CPU, _WRITE, _FLOAT32 = 1, 1, 1
_INVOKE, _BUILTIN, _DELEGATED = 1, 2, 8
_WARM_UP = 5
_size = ctypes.c_size_t


class _Layout(ctypes.Structure):
    # The lowest seven bits of `packed` are the rank.
    _fields_ = (
        ("packed", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element", ctypes.c_int), ("layout", _Layout))

    @property
    def rank(self) -> int:
        return int(self.layout.packed & 0x7F)


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_LIBRARY, name)(*arguments)
    if status:
        raise SystemExit(f"{name} of LiteRT returned status {status}")


def _made(name: str, *arguments: Any) -> ctypes.c_void_p:
    """Returns the handle that a function writes into its last argument."""
    handle = ctypes.c_void_p()
    _call(name, *arguments, ctypes.byref(handle))
    return handle


def _options() -> ctypes.c_void_p:
    options = _made("LiteRtCreateOptions")
    _call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
    free = ctypes.cast(_C.free, ctypes.c_void_p)
    for name, text in (
        (b"runtime_options_string", b"enable_profiling = true\n"),
        (b"xnnpack", b"num_threads = 1\n"),
    ):
        # LiteRT frees the text with `free`, so C must have allocated it.
        payload = ctypes.c_void_p(_C.strdup(text))
        opaque = _made("LiteRtCreateOpaqueOptions", name, payload, free)
        _call("LiteRtAddOpaqueOptions", options, opaque)
    return options


class _Model:
    """A model file that is opened with profiling, and its buffers."""

    def __init__(self, path: str):
        self._environment = _made("LiteRtCreateEnvironment", 0, None)
        model = _made("LiteRtCreateModelFromFile", self._environment, path.encode())
        self._signature = _made("LiteRtGetModelSignature", model, _size(0))
        self._model = _made("LiteRtCreateCompiledModel", self._environment, model, _options())
        self._inputs = self._buffers("Input")
        self._outputs = self._buffers("Output")
        self._profiler = _made("LiteRtCompiledModelGetProfiler", self._model)

    def _buffers(self, side: str) -> Any:
        number = _size()
        _call(f"LiteRtGetNumSignature{side}s", self._signature, ctypes.byref(number))
        buffers = (ctypes.c_void_p * number.value)()
        for position in range(number.value):
            place = _size(position)
            tensor = _made(f"LiteRtGetSignature{side}TensorByIndex", self._signature, place)
            kind = _TensorType()
            _call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            # An open batch has the size -1. It is set to 1 before the buffers are created.
            shape = [max(1, size) for size in kind.layout.dimensions[: kind.rank]]
            dynamic = shape != list(kind.layout.dimensions[: kind.rank])
            kind.layout.dimensions[: kind.rank] = shape
            if side == "Input" and dynamic:
                sizes = (ctypes.c_int * kind.rank)(*shape)
                resized = (self._model, _size(0), place, sizes, _size(kind.rank))
                _call("LiteRtCompiledModelResizeInputTensor", *resized)
            wanted = f"LiteRtGetCompiledModel{side}BufferRequirements"
            needs = _made(wanted, self._model, _size(0), place)
            made = "LiteRtCreateManagedTensorBufferFromRequirements"
            buffer = _made(made, self._environment, ctypes.byref(kind), needs)
            if side == "Input":
                _fill(buffer, kind, shape)
            buffers[position] = buffer.value
        return buffers

    def run(self) -> None:
        _call(
            "LiteRtRunCompiledModel", self._model, _size(0), _size(len(self._inputs)), self._inputs,
            _size(len(self._outputs)), self._outputs,
        )  # fmt: skip

    def profiled(self) -> list[_Event]:
        """Returns the events of one run."""
        _call("LiteRtResetProfiler", self._profiler)
        _call("LiteRtStartProfiler", self._profiler)
        self.run()
        _call("LiteRtStopProfiler", self._profiler)
        number = ctypes.c_int()
        _call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(number))
        events = (_Event * number.value)()
        _call("LiteRtGetProfilerEvents", self._profiler, number, events)
        return list(events)


def _fill(buffer: ctypes.c_void_p, kind: _TensorType, shape: list[int]) -> None:
    """Fills an input with random pixels, as floats or bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    content = (pixels.astype(np.float32) if kind.element == _FLOAT32 else pixels).tobytes()
    place = ctypes.c_void_p()
    _call("LiteRtLockTensorBuffer", buffer, ctypes.byref(place), _WRITE)
    ctypes.memmove(place, content, len(content))
    _call("LiteRtUnlockTensorBuffer", buffer)


def main() -> None:
    model = _Model(sys.argv[1])
    for _ in range(_WARM_UP):
        model.run()
    names = {_BUILTIN: "LiteRT", _DELEGATED: "XNNPACK"}
    runs, totals = [], []
    for _ in range(int(sys.argv[2])):
        events = model.profiled()
        # The delegate has its own numbers for its operators, so their place in the file is unknown.
        run = [
            [e.tag.decode(), names[e.kind], e.index if e.kind == _BUILTIN else -1, e.microseconds]
            for e in events
            if e.kind in names
        ]
        runs.append(run)
        whole = [e.microseconds for e in events if e.kind == _INVOKE and e.tag == b"Invoke"]
        totals.append(sum(whole))
    print(json.dumps({"runs": runs, "totals": totals}))


if __name__ == "__main__":
    main()
