"""What Partial FC saves: a training step against the full head's, and its memory.

    python benchmarks/partial_fc.py [--classes 1000000] [--sample-rate 0.1] [--json FILE]

A whole step of `FaceClassifier`, forward, backward and update, as `model.fit` runs it: one
`Dense` layer as the model, batch 64, embeddings of 512 float32, ArcFace, SGD with momentum 0.9
and weight decay. `PartialFC` and the full head take turns, step by step, each in a process of
its own, as the two would not fit into one; the ratio is the median over the pairs of steps.
Memory is the peak of a process, from making the first centers to the last step, over what it
held before, as a multiple of what centers and momentum take (Linux only). How TensorFlow orders what is ready
differs from process to process: the largest of several is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH, DIMENSIONS = 64, 512
TIME_TARGET, MEMORY_TARGET = 0.25, 1.20
WARM_UP = 2


def resident_bytes(key: str) -> int:
    """VmRSS, what this process holds, or VmHWM, the most it has held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{key}:\s+(\d+) kB", status, re.M)[1])


def child(arguments: argparse.Namespace) -> None:
    """Takes a step for each line of stdin; prints its seconds, and at the end the memory."""
    import keras
    import numpy as np

    import gfkeras
    from gfkeras.training.optimizers import SGD

    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, DIMENSIONS)).astype("float32")

    def classifier(classes: int) -> Any:
        inputs = keras.Input((DIMENSIONS,))
        model = keras.Model(inputs, keras.layers.Dense(DIMENSIONS)(inputs))
        head: Any = gfkeras.heads.ArcFace(classes)
        if arguments.child == "partial":
            head = gfkeras.heads.PartialFC(classes, arguments.sample_rate)
        training = gfkeras.FaceClassifier(model, head)
        # XLA is no help on CPUs, where a recipe leaves it out too.
        training.compile(SGD(0.1, momentum=0.9, weight_decay=5e-4), jit_compile=False)
        return training

    def step(training: Any, classes: int) -> float:
        labels = rng.integers(0, classes, BATCH)
        start = time.perf_counter()
        training.train_on_batch(images, labels)
        return time.perf_counter() - start

    # What the libraries load on their first step is no part of the head's memory.
    step(classifier(BATCH * 20), BATCH * 20)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    training = classifier(arguments.classes)
    for _ in sys.stdin:
        print(step(training, arguments.classes), flush=True)
    print(resident_bytes("VmHWM") - before, flush=True)


class Process:
    """A classifier in a process of its own."""

    def __init__(self, which: str, arguments: argparse.Namespace):
        command = [sys.executable, __file__, "--child", which, "--classes", str(arguments.classes)]
        command += ["--sample-rate", str(arguments.sample_rate)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> int:
        """Ends the process; the bytes it took."""
        found, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError("a benchmark's process failed; its error is above")
        return int(found)


def measure_time(arguments: argparse.Namespace) -> dict[str, Any]:
    processes = {which: Process(which, arguments) for which in ("partial", "full")}
    seconds: dict[str, list[float]] = {which: [] for which in processes}
    for run in range(-WARM_UP, arguments.runs):
        for which in list(processes)[:: 1 if run % 2 else -1]:
            found = processes[which].step()
            if run >= 0:
                seconds[which].append(found)
    memory = {which: process.close() for which, process in processes.items()}
    ratios = [a / b for a, b in zip(seconds["partial"], seconds["full"], strict=True)]
    return {
        "partial_ms_median": 1e3 * statistics.median(seconds["partial"]),
        "full_ms_median": 1e3 * statistics.median(seconds["full"]),
        "time_ratio": statistics.median(ratios),
        "time_ratios": sorted(ratios),
        "full_peak_mib": memory["full"] / 2**20,
    }


def measure_memory(arguments: argparse.Namespace) -> list[float]:
    """MiB at the peak of several processes."""
    peaks = []
    for _ in range(arguments.processes):
        process = Process("partial", arguments)
        for _ in range(4):
            process.step()
        peaks.append(process.close() / 2**20)
    return sorted(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=1_000_000, help="number of identities")
    parser.add_argument("--sample-rate", type=float, default=0.1, help="of PartialFC")
    parser.add_argument("--runs", type=int, default=7, help="measured steps of each")
    parser.add_argument("--processes", type=int, default=3, help="for memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", choices=("partial", "full"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    variables = 2 * 4 * arguments.classes * DIMENSIONS / 2**20
    peaks = measure_memory(arguments)
    result: dict[str, Any] = {
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "classes": arguments.classes,
        "sample_rate": arguments.sample_rate,
        "centers_and_momentum_mib": variables,
        "partial_peaks_mib": peaks,
        "memory_ratio": peaks[-1] / variables,
        **(measure_time(arguments) if arguments.runs else {}),
    }
    result["within_target"] = (
        result.get("time_ratio", 0) <= TIME_TARGET and result["memory_ratio"] <= MEMORY_TARGET
    )
    print(
        f"PartialFC, {arguments.classes:,} identities, r = {arguments.sample_rate:g}: peak "
        f"{peaks[-1]:.0f} MiB (least {peaks[0]:.0f}), centers and momentum {variables:.0f} = "
        f"{result['memory_ratio']:.3f}× (at most {MEMORY_TARGET:.2f}×)"
    )
    if "time_ratio" in result:
        print(
            f"step {result['partial_ms_median']:.0f} ms, full head {result['full_ms_median']:.0f} "
            f"ms = {result['time_ratio']:.3f}× (at most {TIME_TARGET:.2f}×)"
        )
    print(f"within target: {'yes' if result['within_target'] else 'NO'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
