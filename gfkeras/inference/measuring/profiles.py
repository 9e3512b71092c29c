"""Time of each kind of operator, and the operators that XNNPACK does not run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.backend import load_litert
from gfkeras.data.images import FaceSize, face_size
from gfkeras.errors import require

_ROOT = Path(__file__).resolve().parents[3]
_WARM_UP = 5


def child_json(script: str, *arguments: str) -> Any:
    """Runs a script of this folder in a new process and returns the JSON on its last line.

    The script is started by its path, so the library is imported only if the script does it. Raises
    RuntimeError with the last line of its stderr if the script fails.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"it ended with status {run.returncode}"]
        raise RuntimeError(said[-1])
    return json.loads(run.stdout.strip().splitlines()[-1])


@dataclass(frozen=True, slots=True)
class Operator:
    """A kind of operator: a kernel and its `runner`, "XNNPACK", "LiteRT" or an ONNX provider.

    XNNPACK runs a 1×1 convolution as "Fully Connected". `microseconds` is the time of all `count`
    calls in one run, the mean over the faster half of the runs, and `share` its share of them.
    """

    name: str
    runner: str
    count: int
    microseconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Call:
    """One operator in one run. `index` is its place in the file, or -1 if that is unknown."""

    name: str
    runner: str
    index: int
    microseconds: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One run of a model on one thread: the mean over the faster half of several runs.

    Unlike medians, means of the same runs add up. The slower half is ignored because other programs
    probably disturbed it.
    """

    calls: tuple[Call, ...]
    microseconds: float

    @classmethod
    def of_runs(cls, runs: Sequence[Sequence[Call]], totals: Sequence[float]) -> Profile:
        """Returns means over the faster half of the runs.

        Raises RuntimeError if the runs do not call the same operators in the same order.
        """
        orders = {tuple((call.name, call.runner, call.index) for call in run) for run in runs}
        if len(orders) != 1:
            raise RuntimeError("the operators differ from run to run")
        fast = sorted(range(len(runs)), key=lambda run: totals[run])[: (len(runs) + 1) // 2]
        calls = tuple(
            replace(
                runs[0][position],
                microseconds=statistics.mean(runs[run][position].microseconds for run in fast),
            )
            for position in range(len(runs[0]))
        )
        return cls(calls, statistics.mean(totals[run] for run in fast))

    def operators(self) -> tuple[Operator, ...]:
        """Returns the time per kernel, the slowest first."""
        kinds: dict[tuple[str, str], list[float]] = {}
        for call in self.calls:
            kinds.setdefault((call.name, call.runner), []).append(call.microseconds)
        rows = [
            Operator(name, runner, len(times), sum(times), self.share(sum(times)))
            for (name, runner), times in kinds.items()
        ]
        return tuple(sorted(rows, key=lambda row: -row.microseconds))

    def share(self, microseconds: float) -> float:
        """Returns a time as a share of the whole run."""
        return microseconds / self.microseconds if self.microseconds else 0.0


def litert_profile(path: Path, runs: int) -> Profile:
    """Profiles a .tflite file with one image on one thread.

    Operators have the names of XNNPACK or LiteRT, whichever runs them. LiteRT rounds times down to
    whole microseconds. Raises RuntimeError if this version of LiteRT does not have the profiler.
    """
    found = child_json("_litert_profiler.py", str(path), str(runs))
    runs_called = [[Call(*call) for call in run] for run in found["runs"]]
    return Profile.of_runs(runs_called, found["totals"])


def onnx_profile(path: Path, image_size: FaceSize, runs: int) -> Profile:
    """Profiles an .onnx file with one image on one thread, after ONNX Runtime fused operators."""
    ort: Any = require("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        batch = given.shape[0] if isinstance(given.shape[0], int) else 1
        images = np.random.default_rng(0).uniform(0, 255, (batch, *face_size(image_size), 3))
        for _ in range(_WARM_UP + runs):
            session.run(None, {given.name: images.astype(np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    # An event has no number of its run, so its start time decides to which run it belongs.
    marks = sorted(
        (e["ts"], e["dur"]) for e in events if e["cat"] == "Session" and e["name"] == "model_run"
    )[_WARM_UP:]
    kernels = [
        (e["ts"], _onnx_call(e["args"], float(e["dur"])))
        for e in events
        if e["cat"] == "Node" and e["name"].endswith("_kernel_time")
    ]
    called = [
        sorted(
            (call for began, call in kernels if start <= began <= start + length),
            key=lambda call: call.index,
        )
        for start, length in marks
    ]
    return Profile.of_runs(called, [float(length) for _, length in marks])


def _onnx_call(node: dict[str, Any], microseconds: float) -> Call:
    runner = node["provider"].removesuffix("ExecutionProvider")
    return Call(node["op_name"], runner, int(node["node_index"]), microseconds)


_DELEGATE = "DELEGATE"


@dataclass(frozen=True, slots=True)
class LeftOperator:
    """An operator that XNNPACK does not run, such as "PRELU", and its place in the file.

    `dtype` and `tensor` are dtype and name of its first output.
    """

    index: int
    name: str
    dtype: str
    tensor: str


def left_operators(path: Path) -> tuple[LeftOperator, ...]:
    """Returns the operators that run outside the delegate for one image, in the file's order.

    Without a delegate, these are all operators.
    """
    litert = load_litert()
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    everything = interpreter._get_ops_details()
    delegates = [op for op in everything if op["op_name"] == _DELEGATE]
    operators = [op for op in everything if op["op_name"] != _DELEGATE]
    taken = _taken(operators, delegates)
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    found = []
    for op in operators:
        if int(op["index"]) not in taken:
            dtype = getattr(op["result_types"][0], "__name__", str(op["result_types"][0]))
            tensor = names[int(op["outputs"][0])]
            found.append(LeftOperator(int(op["index"]), op["op_name"], dtype, tensor))
    return tuple(found)


def _taken(operators: list[dict], delegates: list[dict]) -> set[int]:
    """Returns the operators inside a delegate: all between its inputs and its outputs.

    LiteRT lists the delegates after the file's operators and does not state which operators they
    run.
    """
    producer = {int(tensor): op for op in operators for tensor in op["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        outside = {int(tensor) for tensor in delegate["inputs"]}
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            tensor = waiting.pop()
            op = producer.get(tensor)
            # A tensor without a producer is a constant.
            if op is None or tensor in outside or int(op["index"]) in taken:
                continue
            taken.add(int(op["index"]))
            waiting += [int(each) for each in op["inputs"] if each >= 0]
    return taken
