"""Cost of replicas: two replicas on the same cores compared with one.

    python benchmarks/replicas.py [--steps 12] [--rounds 3] [--json FILE]

The network is MobileFaceNet with the 512 FC and ArcFace over 10,000 identities, with a global batch
of 64, through `model.fit` as `gfkeras.training` runs it. It runs on one device, and under
MirroredStrategy on two logical devices of the same CPU. There, batch normalisation uses either each
replica's own images or the global batch. Each way has its own process, and the processes alternate.
Ratios are of images per second. The replicas share the cores, so the result shows the overhead of
replicas and not their gain.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The target is the least speed of two replicas as a multiple of the speed of one.
BATCH, IDENTITIES, TARGET = 64, 10_000, 0.9
WAYS = {
    "one": "one replica",
    "two": "two replicas, each its own batch normalisation",
    "synchronized": "two replicas, batch normalisation over the global batch",
}


def child(way: str, steps: int) -> None:
    """Prints the median and the least milliseconds of a step."""
    import tensorflow as tf

    if way != "one":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    import keras
    import numpy as np

    from gfkeras import backbones, heads
    from gfkeras.data import FaceBatches
    from gfkeras.models import FaceClassifier, synchronize_batch_norm
    from gfkeras.training.distribution import Distribution, TensorFlowReplicas
    from gfkeras.training.optimizers import SGD

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * BATCH, 112, 112, 3), np.uint8)
    batches = FaceBatches(images, rng.integers(0, IDENTITIES, 2 * BATCH), BATCH)
    distribution = Distribution() if way == "one" else TensorFlowReplicas.mirrored()

    class Clock(keras.callbacks.Callback):
        times: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float(np.asarray(logs["loss"]))
            self.times.append(time.perf_counter())

    clock = Clock()
    with distribution.scope():
        model = backbones.MobileFaceNet(embedding_dim=512)
        classifier = FaceClassifier(model, heads.ArcFace(IDENTITIES))
        synchronize_batch_norm(classifier, way == "synchronized")
        classifier.compile(SGD(0.01, momentum=0.9, weight_decay=5e-4), jit_compile=False)
        epochs = (steps + 3) // len(batches) + 1
        classifier.fit(
            distribution.dataset(batches, epochs),
            epochs=epochs,
            steps_per_epoch=len(batches),
            verbose=0,
            callbacks=[clock],
        )
    durations = np.diff(clock.times)[2:] * 1e3
    print(json.dumps([float(np.median(durations)), float(durations.min())]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=12, help="measured steps in a process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.steps)
        return
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way, medians in found.items():
            command = [sys.executable, __file__, "--child", way, "--steps", str(arguments.steps)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            medians.append(json.loads(run.stdout.splitlines()[-1])[0])
    one = statistics.median(found["one"])
    results = {}
    for way, medians in found.items():
        milliseconds = statistics.median(medians)
        results[way] = {
            "ms_median": milliseconds,
            "ms_of_processes": medians,
            "images_per_second": 1e3 * BATCH / milliseconds,
            "of_one_replica": one / milliseconds,
        }
        verdict = ""
        if way == "two":
            verdict = f" (at least {TARGET}): {'yes' if one / milliseconds >= TARGET else 'NO'}"
        print(
            f"{WAYS[way]}: {milliseconds:.0f} ms a step, {1e3 * BATCH / milliseconds:.1f} "
            f"images/s = {one / milliseconds:.2f}× one replica{verdict}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
