"""Cost of a margin: a head's training step compared with normalised softmax, and its memory.

    python benchmarks/margin_heads.py [--classes 100000] [--heads ArcFace CosFace ...] [--json FILE]

Each step takes embeddings (128, 512) and labels. It returns the mean cross-entropy and its
gradients by embeddings and centers (100,000, 512), compiled as in `model.fit`. The comparison is
the usual code for s·cos θ: Keras' normalize, a matmul and Keras' sparse softmax cross-entropy. Both
share the centers and run alternately in one process. The ratio is the median over the runs of the
ratio of two neighbouring steps.

Memory is the peak during steps in a separate process, minus the memory before the first step (Linux
only). It varies from process to process by one array of the centers' size, depending on the order
in which TensorFlow happens to run operations. The largest values of several processes are compared.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from gfkeras.heads import HEADS
from gfkeras.losses import softmax_cross_entropy

BATCH, DIMENSIONS, SCALE = 128, 512, 64.0
# Largest time and memory as multiples of those of plain softmax.
TIME_TARGET, MEMORY_TARGET = 1.10, 1.20


def plain_loss(embedding: Any, centers: Any, labels: Any) -> Any:
    """Returns normalised softmax without a margin, written in the usual way."""
    unit = ops.normalize(embedding, axis=-1)
    cosine = ops.matmul(unit, ops.transpose(ops.normalize(centers, axis=-1)))
    losses = ops.sparse_categorical_crossentropy(labels, SCALE * cosine, from_logits=True)
    return ops.mean(losses)


def compiled_step(loss: Callable[..., Any], layer: keras.layers.Layer) -> Callable[..., Any]:
    """Returns (embedding, labels) → loss and its gradients by embedding and centers."""
    if keras.backend.backend() == "jax":
        import jax

        others = [v.value for v in layer.non_trainable_variables]

        def of_arrays(centers: Any, embedding: Any, labels: Any) -> Any:
            scope = keras.StatelessScope(
                [(layer.centers, centers), *zip(layer.non_trainable_variables, others, strict=True)]
            )
            with scope:
                return loss(embedding, labels)

        step = jax.jit(jax.value_and_grad(of_arrays, argnums=(0, 1)))
        return lambda embedding, labels: jax.block_until_ready(
            step(layer.centers.value, embedding, labels)
        )
    import tensorflow as tf

    @tf.function
    def step(embedding: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(embedding)
            value = loss(embedding, labels)
        return value, tape.gradient(value, [embedding, layer.centers.value])

    return step


def steps(name: str, classes: int) -> tuple[Callable[..., Any], Callable[..., Any], tuple]:
    """Returns the head's step, the plain step on the same centers, and their arguments."""
    rng = np.random.default_rng(0)
    head = HEADS[name](classes)
    head.build((None, DIMENSIONS))
    head.centers.assign(rng.normal(size=head.centers.shape, scale=0.01).astype("float32"))
    embedding = ops.convert_to_tensor(rng.normal(size=(BATCH, DIMENSIONS)).astype("float32"))
    labels = ops.convert_to_tensor(rng.integers(0, classes, BATCH).astype("int32"))

    def head_loss(embedding: Any, labels: Any) -> Any:
        logits = head(embedding, labels, training=True)
        return ops.mean(softmax_cross_entropy(logits, labels))

    def peer_loss(embedding: Any, labels: Any) -> Any:
        # Use as many centers as the head has, so that sub-centers are compared fairly.
        centers = ops.reshape(ops.convert_to_tensor(head.centers), (-1, DIMENSIONS))
        return plain_loss(embedding, centers, labels)

    return compiled_step(head_loss, head), compiled_step(peer_loss, head), (embedding, labels)


def measure_time(name: str, classes: int, runs: int) -> dict[str, float]:
    """Returns the median milliseconds of the head's step and of the plain step, alternately."""
    head, peer, arguments = steps(name, classes)
    seconds: dict[str, list[float]] = {"head": [], "peer": []}
    # Negative runs compile and warm up and are not measured.
    for run in range(-3, runs):
        # Change the order in each run, because the second step finds a warmer cache.
        for key, step in [("head", head), ("peer", peer)][:: 1 if run % 2 else -1]:
            start = time.perf_counter()
            # Reading the loss waits for the device.
            float(step(*arguments)[0])
            if run >= 0:
                seconds[key].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["head"], seconds["peer"], strict=True)]
    return {
        "head_ms_median": 1e3 * statistics.median(seconds["head"]),
        "peer_ms_median": 1e3 * statistics.median(seconds["peer"]),
        "time_ratio": statistics.median(ratios),
    }


def step_bytes(name: str, classes: int, which: str) -> int:
    """Returns the memory that steps need in a separate process, beyond the memory before them."""
    command = [sys.executable, __file__, "--classes", str(classes), "--child", name, which]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout.splitlines()[-1])


def resident_bytes(key: str) -> int:
    """Returns VmRSS, the current memory of this process, or VmHWM, its peak (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{key}:\s+(\d+) kB", status, re.M)[1])


def child(name: str, classes: int, which: str) -> None:
    head, peer, arguments = steps(name, classes)
    step = head if which == "head" else peer
    # Making the arrays took more memory than they hold, so reset the peak here.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    for _ in range(3):
        step(*arguments)
    print(resident_bytes("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=100_000, help="number of identities")
    parser.add_argument("--runs", type=int, default=15, help="measured steps of each")
    parser.add_argument("--processes", type=int, default=6, help="processes of each, for memory")
    parser.add_argument(
        "--heads", nargs="+", default=["ArcFace"], choices=sorted(HEADS), help="heads to measure"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], arguments.classes, arguments.child[1])
        return
    results = []
    for name in arguments.heads:
        peaks: dict[str, list[float]] = {"peer": [], "head": []}
        for _ in range(arguments.processes):
            for which, found in peaks.items():
                found.append(step_bytes(name, arguments.classes, which) / 2**20)
        # The largest peak of several processes, because the order of operations varies.
        memory = {which: max(found) for which, found in peaks.items()}
        result: dict[str, Any] = {
            "head": name,
            "backend": keras.backend.backend(),
            "classes": arguments.classes,
            **measure_time(name, arguments.classes, arguments.runs),
            "head_peak_mib": sorted(peaks["head"]),
            "peer_peak_mib": sorted(peaks["peer"]),
            "memory_ratio": memory["head"] / memory["peer"],
        }
        result["within_target"] = (
            result["time_ratio"] <= TIME_TARGET and result["memory_ratio"] <= MEMORY_TARGET
        )
        results.append(result)
        print(
            f"{name}, {arguments.classes:,} identities, {result['backend']}: step "
            f"{result['head_ms_median']:.0f} ms, plain softmax {result['peer_ms_median']:.0f} ms "
            f"= {result['time_ratio']:.3f}× (at most {TIME_TARGET:.2f}×); peak memory "
            f"{memory['head']:.0f} MiB (least {min(peaks['head']):.0f}), plain softmax "
            f"{memory['peer']:.0f} ({min(peaks['peer']):.0f}) = {result['memory_ratio']:.3f}× "
            f"(at most {MEMORY_TARGET:.2f}×): {'yes' if result['within_target'] else 'NO'}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
