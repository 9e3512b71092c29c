"""Savings of Partial FC: time and memory of a training step compared with the full head.

    python benchmarks/partial_fc.py [--classes 1000000] [--sample-rate 0.1] [--json FILE]

A step is a whole step of `FaceClassifier` as `model.fit` runs it: forward, backward and update. The
model is one `Dense` layer. The batch is 64, embeddings are 512 float32, the head is ArcFace, and
the optimizer is SGD with momentum 0.9 and weight decay. `PartialFC` and the full head alternate in
separate processes, because they would not fit into memory together. The ratio is the median over
the rounds of the ratio of both median steps.

Memory is the peak of a process from making the first centers to the last step, minus the memory
before. It is shown as a multiple of the size of centers and momentum (Linux only). TensorFlow
orders its operations differently in each process, so the largest of several values counts.
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
# Largest time as a multiple of the full head's, and memory as a multiple of centers and momentum.
TIME_TARGET, MEMORY_TARGET = 0.25, 1.20
WARM_UP = 2


def resident_bytes(key: str) -> int:
    """Returns VmRSS, the current memory of this process, or VmHWM, its peak (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{key}:\s+(\d+) kB", status, re.M)[1])


def child(arguments: argparse.Namespace) -> None:
    """Prints the seconds of each step, and at the end the peak in bytes."""
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
        # XLA does not help on CPUs, and recipes do not use it there either.
        training.compile(SGD(0.1, momentum=0.9, weight_decay=5e-4), jit_compile=False)
        return training

    def step(training: Any, classes: int) -> float:
        labels = rng.integers(0, classes, BATCH)
        start = time.perf_counter()
        training.train_on_batch(images, labels)
        return time.perf_counter() - start

    # Libraries load code in their first step. That memory does not belong to the head.
    step(classifier(BATCH * 20), BATCH * 20)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    training = classifier(arguments.classes)
    for _ in range(WARM_UP + arguments.steps):
        print(step(training, arguments.classes))
    print(resident_bytes("VmHWM") - before)


def run(which: str, arguments: argparse.Namespace) -> tuple[list[float], float]:
    """Returns the seconds of the steps in a separate process, and its memory in MiB."""
    command = [sys.executable, __file__, "--child", which, "--classes", str(arguments.classes)]
    command += ["--sample-rate", str(arguments.sample_rate), "--steps", str(arguments.steps)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    *seconds, peak = found.stdout.split()
    # The first steps compile and are not measured.
    return [float(second) for second in seconds][WARM_UP:], int(peak) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=1_000_000, help="number of identities")
    parser.add_argument("--sample-rate", type=float, default=0.1, help="sample rate of PartialFC")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each head")
    parser.add_argument("--steps", type=int, default=5, help="measured steps in each process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", choices=("partial", "full"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    # Centers and their momentum, 4 bytes each, in MiB.
    variables = 2 * 4 * arguments.classes * DIMENSIONS / 2**20
    rounds: dict[str, list[Any]] = {"partial": [], "full": []}
    for number in range(arguments.rounds):
        # Change the order in each round, so that neither head always runs first.
        for which in list(rounds)[:: 1 if number % 2 else -1]:
            seconds, peak = run(which, arguments)
            rounds[which].append((statistics.median(seconds), peak))
            print(f"{which}: {1e3 * rounds[which][-1][0]:.0f} ms, {peak:.0f} MiB", flush=True)
    times, peaks = (
        {which: [pair[place] for pair in pairs] for which, pairs in rounds.items()}
        for place in (0, 1)
    )
    ratios = sorted(a / b for a, b in zip(times["partial"], times["full"], strict=True))
    result: dict[str, Any] = {
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "classes": arguments.classes,
        "sample_rate": arguments.sample_rate,
        "partial_ms": [1e3 * second for second in times["partial"]],
        "full_ms": [1e3 * second for second in times["full"]],
        "time_ratios": ratios,
        "time_ratio": statistics.median(ratios),
        "centers_and_momentum_mib": variables,
        "partial_peaks_mib": sorted(peaks["partial"]),
        "full_peaks_mib": sorted(peaks["full"]),
        "memory_ratio": max(peaks["partial"]) / variables,
    }
    result["within_target"] = (
        result["time_ratio"] <= TIME_TARGET and result["memory_ratio"] <= MEMORY_TARGET
    )
    print(
        f"PartialFC, {arguments.classes:,} identities, r = {arguments.sample_rate:g}: step "
        f"{result['time_ratio']:.3f}× of the full head's ({ratios[0]:.3f} to {ratios[-1]:.3f}; at "
        f"most {TIME_TARGET:.2f}×); peak memory {max(peaks['partial']):.0f} MiB, centers and "
        f"momentum {variables:.0f} = {result['memory_ratio']:.3f}× (at most "
        f"{MEMORY_TARGET:.2f}×), full head {max(peaks['full']):.0f}: "
        f"{'yes' if result['within_target'] else 'NO'}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
