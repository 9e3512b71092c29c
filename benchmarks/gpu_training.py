"""Training GroupFace on a GPU in bfloat16: gfkeras with JAX compared with PyTorch.

    KERAS_BACKEND=jax python benchmarks/gpu_training.py [--batch 256] [--json FILE]

The networks are IResNet-100 and MobileFaceNet with a soft GroupFace of 32 groups on a shared
feature of 4096, and ArcFace over 10,000 identities. It measures images per second of training steps
under mixed_bfloat16, as `model.fit` runs them, with batches sent from the host. For comparison, the
same network runs in PyTorch, channels-last, with bfloat16 autocast. Both need the card's memory, so
each runs in its own process, alternately. The fraction is of the card's multiply-accumulate rate in
a bfloat16 matrix product, measured in the same process. A step counts as three forward passes.

`--device cpu --quick` runs IResNet-18 and MobileFaceNet at a small batch without a GPU, to test the
script. Its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

IDENTITIES, SHARED, GROUPS = 10_000, 4096, 32


def child(network: str, batch: int, steps: int, device: str) -> None:
    """Runs gfkeras and prints one line of JSON."""
    import jax
    import keras
    import numpy as np

    import gfkeras
    from gfkeras.models import FaceClassifier, count_macs

    if jax.default_backend() != ("gpu" if device == "cuda" else "cpu"):
        sys.exit(f"JAX sees no GPU, but {jax.default_backend()}")
    keras.config.set_dtype_policy("mixed_bfloat16")
    backbone = getattr(gfkeras.backbones, network)()
    model = gfkeras.GroupFace(backbone, 512, GROUPS, shared_dim=SHARED, mode="soft")
    classifier = FaceClassifier(
        model, gfkeras.heads.ArcFace(IDENTITIES), gfkeras.losses.SelfGroupingLoss(weight=0.1)
    )
    classifier.compile(keras.optimizers.SGD(0.005, momentum=0.9, weight_decay=5e-4))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 112, 112, 3)).astype("uint8")
    labels = rng.integers(0, IDENTITIES, batch).astype("int32")

    class Same(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps + 5

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return images, labels

    class Clock(keras.callbacks.Callback):
        start = seconds = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            # The first five batches compile and warm up. JAX runs asynchronously, so wait for the
            # device.
            if batch in (4, steps + 4):
                jax.block_until_ready(logs)
                self.seconds = time.perf_counter() - self.start
                self.start = time.perf_counter()

    clock = Clock()
    classifier.fit(Same(), shuffle=False, verbose=0, callbacks=[clock])
    size = 8192 if device == "cuda" else 1024
    square = jax.random.normal(jax.random.key(0), (size, size), "bfloat16")
    product = jax.jit(lambda a: a @ a)
    rate = 0.0
    # The best of several products is the rate that the card can reach.
    for _ in range(12):
        start = time.perf_counter()
        product(square).block_until_ready()
        rate = max(rate, size**3 / (time.perf_counter() - start))
    print(
        json.dumps(
            {
                "parameters": sum(int(np.prod(v.shape)) for v in classifier.trainable_variables),
                "images_per_second": batch * steps / clock.seconds,
                "matmul_macs_per_second": rate,
                "macs": count_macs(model),
                "version": jax.__version__,
            }
        )
    )


def run(command: list[Any]) -> dict[str, Any]:
    # By default JAX reserves most of the card's memory at its start.
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"gpu_training: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def torch_interpreter() -> str:
    """Returns this interpreter if it has PyTorch, else the one of the benchmarks."""
    if importlib.util.find_spec("torch") is not None:
        return sys.executable
    from _torch_environment import torch_python

    return str(torch_python())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=256, help="images in a batch")
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each framework")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="device to measure"
    )
    parser.add_argument("--quick", action="store_true", help="small networks and few steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.batch, arguments.steps, arguments.device)
        return 0
    if arguments.device == "cuda" and not Path("/proc/driver/nvidia").exists():
        # This is not a failure: `make bench` also runs on machines without a GPU.
        print("no NVIDIA GPU here: nothing was measured")
        return 0
    networks = ["IResNet100", "MobileFaceNet"]
    if arguments.quick:
        networks, arguments.batch, arguments.steps, arguments.rounds = (
            ["IResNet18", "MobileFaceNet"], 4, 1, 1,
        )  # fmt: skip
    batch, steps, device = arguments.batch, arguments.steps, arguments.device
    peer = Path(__file__).with_name("_torch_gpu_training.py")
    results: dict[str, Any] = {}
    for network in networks:
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(
                run(
                    [sys.executable, __file__, "--child", network, "--batch", batch]
                    + ["--steps", steps, "--device", device]
                )
            )
            theirs.append(
                run([torch_interpreter(), peer, network, batch, steps, IDENTITIES, device])
            )
        if ours[0]["parameters"] != theirs[0]["parameters"]:
            raise SystemExit(
                f"gpu_training: the networks differ: {ours[0]['parameters']:,} parameters, "
                f"PyTorch's {theirs[0]['parameters']:,}"
            )
        found: dict[str, Any] = {"batch": batch, "ours": ours, "pytorch": theirs}
        for name, runs in (("ours", ours), ("pytorch", theirs)):
            speed = statistics.median(r["images_per_second"] for r in runs)
            rate = max(r["matmul_macs_per_second"] for r in runs)
            found[f"{name}_images_per_second"] = speed
            # The backward pass costs about two forward passes, so a step counts as three.
            found[f"{name}_of_matmul_rate"] = 3 * ours[0]["macs"] * speed / rate
        found["ratio"] = found["ours_images_per_second"] / found["pytorch_images_per_second"]
        results[network] = found
        print(
            f"{network} GroupFace, bf16, batch {batch}: "
            f"{found['ours_images_per_second']:.0f} images/s "
            f"({found['ours_of_matmul_rate']:.1%} of the matmul rate), PyTorch "
            f"{found['pytorch_images_per_second']:.0f} ({found['pytorch_of_matmul_rate']:.1%}) "
            f"= {found['ratio']:.2f}×",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
