"""Cost of semi-hard mining beyond the distance matrix: time and memory.

    python benchmarks/triplet_mining.py [--runs 60] [--dimensions 128 512] [--json FILE]

The batch is FaceNet's: 45 identities with 40 images each. "distances" is `pairwise_distance` of the
embeddings. "loss" is `TripletLoss()`, which computes the distances too. Each is measured once
forward only and once with the gradient by the embeddings, for the distances that of their mean. All
four are compiled in the same way (`tf.function` or `jax.jit`) and run alternately in one process. A
slow phase of the machine then slows all of them. Medians are compared.

Peak memory is measured in a separate process (Linux). It is the peak resident size in a run on the
whole batch, minus the size after runs on 120 rows. It includes allocators and compiled code, but
not the compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import ops

from gfkeras.losses import TripletLoss, pairwise_distance

# Largest time of the loss as a multiple of the time for the distances.
TARGET = 2.0
IDENTITIES, IMAGES = 45, 40
CASES = ("distances", "loss", "distances with gradient", "loss with gradient")


def batch(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns identities as overlapping clusters, in random order."""
    rng = np.random.default_rng(dimensions)
    labels = rng.permutation(np.repeat(np.arange(IDENTITIES, dtype="int32"), IMAGES))
    centers = rng.normal(size=(IDENTITIES, dimensions))
    noise = rng.normal(size=(len(labels), dimensions))
    # The clusters overlap, so semi-hard mining has triplets to choose from.
    return labels, (0.7 * centers[labels] + noise).astype("float32")


def compiled(case: str) -> Callable[[np.ndarray, np.ndarray], Callable[[], object]]:
    """Returns a function that takes labels and embeddings and returns the case as a call."""
    loss = TripletLoss()

    def distances(labels, embeddings):
        matrix = pairwise_distance(embeddings)
        return ops.mean(matrix) if case.endswith("gradient") else matrix

    forward = distances if case.startswith("distances") else loss
    if keras.backend.backend() == "jax":
        import jax

        differentiated = jax.value_and_grad(forward, argnums=1)
        step = jax.jit(differentiated if case.endswith("gradient") else forward)
        return lambda labels, embeddings: lambda: jax.block_until_ready(step(labels, embeddings))
    import tensorflow as tf

    def with_gradient(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = forward(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    step = tf.function(with_gradient if case.endswith("gradient") else forward)

    def on(labels, embeddings):
        tensors = tf.constant(labels), tf.constant(embeddings)
        # Kernels on a CPU have finished when they return, so there is nothing to wait for.
        return lambda: step(*tensors)

    return on


def time_of_each(dimensions: int, runs: int) -> dict[str, float]:
    """Returns the median milliseconds of each case, run alternately."""
    arrays = batch(dimensions)
    functions = {case: compiled(case)(*arrays) for case in CASES}
    seconds: dict[str, list[float]] = {case: [] for case in CASES}
    # Negative runs compile and warm up and are not measured.
    for run in range(-5, runs):
        for case, function in functions.items():
            start = time.perf_counter()
            function()
            if run >= 0:
                seconds[case].append(time.perf_counter() - start)
    return {case: 1e3 * statistics.median(values) for case, values in seconds.items()}


def peak_memory(case: str, dimensions: int) -> float:
    """Returns the megabytes that one run needs at its peak, in a separate process."""
    command = [sys.executable, __file__, "--peak", case, str(dimensions)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout.split()[-1]) / 1024


def print_peak(case: str, dimensions: int) -> None:
    """Prints the peak resident size during a run, minus that before it, in KiB."""

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

    def settle(run: Callable[[], object]) -> None:
        for _ in range(3):
            run()
        # Give freed memory back to the system. Most of it was the compiler's.
        ctypes.CDLL("libc.so.6").malloc_trim(0)

    on = compiled(case)
    labels, embeddings = batch(dimensions)
    # Compile and load everything on a small batch, so that only the large run's memory is counted.
    settle(on(labels[:120], embeddings[:120]))
    before = status("VmRSS")
    run = on(labels, embeddings)
    settle(run)
    # Reset the peak here.
    Path("/proc/self/clear_refs").write_text("5")
    run()
    print(status("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=60, help="measured runs of each")
    parser.add_argument(
        "--dimensions",
        type=int,
        nargs="+",
        default=[128, 512],
        metavar="D",
        help="lengths of the embeddings",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(arguments.peak[0], int(arguments.peak[1]))
        return
    results = []
    rows = IDENTITIES * IMAGES
    print(
        f"{keras.backend.backend()}, batch {rows}; a matrix of the batch squared takes "
        f"{rows**2 * 4 / 2**20:.1f} MB, an array of all triplets {rows**3 * 4 / 2**30:.0f} GB"
    )
    for dimensions in arguments.dimensions:
        median = time_of_each(dimensions, arguments.runs)
        memory = {case: peak_memory(case, dimensions) for case in CASES}
        for suffix in ("", " with gradient"):
            peer, ours = f"distances{suffix}", f"loss{suffix}"
            ratio = median[ours] / median[peer]
            results.append(
                {
                    "backend": keras.backend.backend(),
                    "batch": rows,
                    "dimensions": dimensions,
                    "gradient": bool(suffix),
                    "distances_ms_median": median[peer],
                    "loss_ms_median": median[ours],
                    "ratio": ratio,
                    "target": TARGET,
                    "within_target": ratio <= TARGET,
                    "distances_peak_mb": memory[peer],
                    "loss_peak_mb": memory[ours],
                }
            )
            print(
                f"D={dimensions}{suffix or ' forward'}: distances {median[peer]:.1f} ms, "
                f"loss {median[ours]:.1f} ms = {ratio:.2f}× "
                f"(at most {TARGET:.1f}×: {'yes' if ratio <= TARGET else 'NO'}); "
                f"peak memory {memory[peer]:.0f} and {memory[ours]:.0f} MB"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
