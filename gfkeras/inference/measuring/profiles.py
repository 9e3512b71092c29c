"""The operators of a .tflite or .onnx file, timed by their runtime's own profiler."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import require
from gfkeras.inference.measuring.child import child_json
from gfkeras.inference.measuring.operators import Call, Profile

_WARM_UP = 5


def litert_profile(path: Path, runs: int) -> Profile:
    """One image on one thread; XNNPACK's operators by its own names, the others by LiteRT's.

    Times are whole microseconds, rounded down by LiteRT.

    Raises:
        RuntimeError: where this version of LiteRT has no such profiler, with the reason.
    """
    found = child_json("_litert_profiler.py", str(path), str(runs))
    try:
        return Profile.of_runs(
            [[Call(*call) for call in run] for run in found["runs"]], found["totals"]
        )
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def onnx_profile(path: Path, image_size: int, runs: int) -> Profile:
    """One image on one thread, after ONNX Runtime has fused what it fuses.

    Raises:
        RuntimeError: if runs differ.
    """
    ort: Any = require("onnxruntime", "export")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        batch = given.shape[0] if isinstance(given.shape[0], int) else 1
        images = np.random.default_rng(0).uniform(0, 255, (batch, image_size, image_size, 3))
        for _ in range(_WARM_UP + runs):
            session.run(None, {given.name: images.astype(np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    # An event does not say to which run it belongs, but when it began.
    marks = sorted(
        (e["ts"], e["dur"]) for e in events if e["cat"] == "Session" and e["name"] == "model_run"
    )[_WARM_UP:]
    called: list[list[Call]] = []
    for start, length in marks:
        within = [
            e
            for e in events
            if e["cat"] == "Node"
            and e["name"].endswith("_kernel_time")
            and start <= e["ts"] <= start + length
        ]
        called.append(
            [
                Call(
                    e["args"]["op_name"],
                    e["args"]["provider"].removesuffix("ExecutionProvider"),
                    int(e["args"]["node_index"]),
                    float(e["dur"]),
                )
                for e in sorted(within, key=lambda e: int(e["args"]["node_index"]))
            ]
        )
    try:
        return Profile.of_runs(called, [float(length) for _, length in marks])
    except ValueError as error:
        raise RuntimeError(str(error)) from error
