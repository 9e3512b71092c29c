"""A training step compared with PyTorch: MobileFaceNet, 512 FC, ArcFace with 10,000 identities.

    python benchmarks/training_step.py [--batch 64] [--steps 20] [--ablate] [--json FILE]

A step is what `model.fit` runs for a batch in memory: forward, backward, SGD with momentum 0.9 and
weight decay, and the logs. The comparison is the same network and head in PyTorch 2.13 on the CPU,
channels-last, in float32 and with bfloat16 autocast. It runs in a separate environment, which is
made on first use in about 20 s.

All alternate in turns of one unmeasured and two measured steps. A ratio is the median, over the
turns, of the ratio of both times in one turn. The ratio of the least times is printed as well: on a
busy machine, PyTorch's threads wait for each other and slow down much more than TensorFlow's. The
same turns also measure the network with Keras' own layers, with mixed bfloat16, and GroupFace
(soft, K = 32, with and without the shared FC of 4096) against the plain network.

`--ablate` instead measures the step with each of gfkeras' layers replaced by Keras' own. It takes
about five minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _torch_environment import torch_python

import gfkeras
from gfkeras import layers
from gfkeras.models import FaceClassifier

IDENTITIES, EMBEDDING, GROUPS = 10_000, 512, 32
# Short turns, so that slow phases of the machine affect all contestants.
STEPS_PER_TURN = 2
# Least speed as a multiple of PyTorch's, and largest time of GroupFace as a multiple of the plain
# network's.
SPEED_TARGET, GROUPFACE_TARGET = 1.25, 1.15
# gfkeras' layers, and the Keras layers that replace them.
KERAS_LAYERS = {
    layers.BatchNormalization: keras.layers.BatchNormalization,
    layers.PReLU: keras.layers.PReLU,
    layers.Conv2D: keras.layers.Conv2D,
}
# Each ratio: its title, whose time is divided, and by whose time.
RATIOS = (
    ("speed against PyTorch fp32", "PyTorch fp32", "gfkeras fp32"),
    ("speed against PyTorch bf16", "PyTorch bf16", "gfkeras fp32"),
    ("bf16's speed against PyTorch bf16", "PyTorch bf16", "gfkeras bf16"),
    ("speed against Keras' own layers", "Keras' layers fp32", "gfkeras fp32"),
    ("time of GroupFace, no shared FC", "GroupFace fp32", "gfkeras fp32"),
    ("time of GroupFace, shared FC of 4096", "GroupFace 4096 fp32", "gfkeras fp32"),
)

Turn = Callable[[], list[float]]


def plain(*replaced: type[keras.layers.Layer]) -> keras.Model:
    """Returns MobileFaceNet with the 512 FC. Layers of the given classes become Keras' own."""
    backbone = gfkeras.backbones.MobileFaceNet(embedding_dim=EMBEDDING)
    if not replaced:
        return backbone

    def own(layer: keras.layers.Layer) -> keras.layers.Layer:
        cls = KERAS_LAYERS[type(layer)] if type(layer) in replaced else type(layer)
        return cls.from_config(layer.get_config())

    return keras.models.clone_model(backbone, clone_function=own)


def groupface(shared_dim: int | None) -> keras.Model:
    backbone = gfkeras.backbones.MobileFaceNet()
    return gfkeras.GroupFace(backbone, EMBEDDING, GROUPS, shared_dim=shared_dim, mode="soft")


def our_turn(model: keras.Model, batch: int) -> Turn:
    """Returns a function that trains `model` and returns the seconds of all steps but the first."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *model.input_shape[1:])).astype("uint8")
    labels = rng.integers(0, IDENTITIES, batch).astype("int32")
    grouped = isinstance(model, gfkeras.GroupFace)
    losses = gfkeras.losses.SelfGroupingLoss(weight=0.1) if grouped else None
    classifier = FaceClassifier(model, gfkeras.heads.ArcFace(IDENTITIES), losses)
    classifier.compile(keras.optimizers.SGD(0.005, momentum=0.9, weight_decay=5e-4))
    # Call the function of `fit` directly, to time single steps without its callbacks.
    classifier.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())

    def turn() -> list[float]:
        seconds = []
        for _ in range(1 + STEPS_PER_TURN):
            start = time.perf_counter()
            classifier.train_function(batches)
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    turn()
    return turn


def torch_turns(batch: int, parameters: int) -> tuple[subprocess.Popen, dict[str, Turn]]:
    """Returns the PyTorch process, and its turns by name."""
    command = [torch_python(), Path(__file__).with_name("_torch_training_step.py")]
    process = subprocess.Popen(
        [*map(str, command), str(batch), str(IDENTITIES), str(os.cpu_count())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    theirs = int(process.stdout.readline())
    # A comparison makes sense only if both networks are the same.
    if theirs != parameters:
        process.kill()
        raise RuntimeError(f"the networks differ: {parameters:,} parameters, theirs {theirs:,}")

    def turn(precision: str) -> list[float]:
        process.stdin.write(f"{precision} {STEPS_PER_TURN}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    return process, {f"PyTorch {p}": lambda p=p: turn(p) for p in ("fp32", "bf16")}


def ablation(batch: int) -> dict[str, Turn]:
    turns = {"gfkeras fp32": our_turn(plain(), batch)}
    for cls in KERAS_LAYERS:
        turns[f"Keras' {cls.__name__}"] = our_turn(plain(cls), batch)
    turns["Keras' layers fp32"] = our_turn(plain(*KERAS_LAYERS), batch)
    return turns


def contestants(batch: int) -> dict[str, Turn]:
    turns = {
        "gfkeras fp32": our_turn(plain(), batch),
        "Keras' layers fp32": our_turn(plain(*KERAS_LAYERS), batch),
        "GroupFace fp32": our_turn(groupface(None), batch),
        "GroupFace 4096 fp32": our_turn(groupface(4096), batch),
    }
    # The policy applies to layers when they are made, so build this model last and reset the
    # policy.
    keras.config.set_dtype_policy("mixed_bfloat16")
    turns["gfkeras bf16"] = our_turn(plain(), batch)
    keras.config.set_dtype_policy("float32")
    return turns


def parameters() -> int:
    """Returns the parameters of the plain network and its centers, without moving statistics."""
    trained = sum(int(np.prod(v.shape)) for v in plain().trainable_variables)
    return trained + IDENTITIES * EMBEDDING


def processor() -> dict[str, Any]:
    """Returns the kind of machine: cores and, on Linux, the processor's family and features."""
    found: dict[str, Any] = {"cores": os.cpu_count(), "machine": platform.machine()}
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text()
        for key in ("model name", "cpu family"):
            match = re.search(rf"^{key}\s*: (.*)$", text, re.M)
            found[key] = match[1] if match else None
        flags = set(re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.M)[1].split())
        found["isa"] = sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each")
    parser.add_argument("--ablate", action="store_true", help="replace gfkeras' layers instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    count = parameters()
    process = None
    if arguments.ablate:
        turns = ablation(arguments.batch)
        pairs = [(f"time with {name}", name, "gfkeras fp32") for name in list(turns)[1:]]
    else:
        process, peers = torch_turns(arguments.batch, count)
        turns = {**contestants(arguments.batch), **peers}
        pairs = list(RATIOS)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(-(-arguments.steps // STEPS_PER_TURN)):
        for name, turn in turns.items():
            seconds[name].extend(turn())
    if process is not None:
        process.communicate()
    results: dict[str, Any] = {
        "batch": arguments.batch,
        "identities": IDENTITIES,
        "parameters": count,
        "processor": processor(),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "steps": len(seconds["gfkeras fp32"]),
        "contestants": {},
        "ratios": {},
    }
    print(f"{results['processor']}\n{count:,} parameters, batch {arguments.batch}")
    for name, found in seconds.items():
        median = statistics.median(found)
        results["contestants"][name] = {
            "ms_median": 1e3 * median,
            "ms_least": 1e3 * min(found),
            "images_per_second": arguments.batch / median,
        }
        print(
            f"{name:24} {1e3 * median:7.0f} ms (least {1e3 * min(found):.0f}), "
            f"{arguments.batch / median:6.1f} images/s"
        )
    for title, over, under in pairs:
        # Ratios within a turn cancel out slow phases of the machine.
        paired = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
        ratio = statistics.median(paired)
        least = min(seconds[over]) / min(seconds[under])
        results["ratios"][title] = {"median": ratio, "of_least": least}
        verdict = ""
        if title.startswith("speed against PyTorch"):
            verdict = f" (at least {SPEED_TARGET}×): {'yes' if ratio >= SPEED_TARGET else 'NO'}"
        elif title.startswith("time of GroupFace"):
            met = ratio <= GROUPFACE_TARGET
            verdict = f" (at most {GROUPFACE_TARGET}×): {'yes' if met else 'NO'}"
        print(f"{title:38} {ratio:.2f}×, of the least times {least:.2f}×{verdict}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
