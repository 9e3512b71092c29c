"""Cost of H-GroupFace over its plain backbone: latency of .tflite files on one thread.

    python benchmarks/h_groupface_latency.py [--runs 300] [--groups 32 128] [--json FILE]

Plain is MobileFaceNet with an FC of 512. H and S are GroupFace on the same network with K groups,
`shared_dim=None`, exported by `gfkeras.export`. All run alternately in one process (plain, H, S,
plain, H, S, …), one image at a time. A slow phase of the machine then slows all of them. Medians
are compared. Every run takes another image, so the chosen group's weights usually come from memory
and not from a cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from gfkeras.backbones import MobileFaceNet
from gfkeras.export import export_model
from gfkeras.inference.runtimes import LiteRTRuntime
from gfkeras.models import GroupFace

# Largest latency of H-GroupFace as a multiple of the plain backbone's, by K.
TARGETS = {32: 1.20, 128: 1.25}
IMAGES = 64


def images(count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns smooth random images with some noise, as varied as faces and with the same range."""
    coarse = rng.normal(size=(count, 7, 7, 3)).repeat(16, axis=1).repeat(16, axis=2)
    noise = rng.normal(size=(count, 112, 112, 3))
    return np.clip(128 + 60 * coarse + 10 * noise, 0, 255).astype(np.float32)


def trained_like(model: keras.Model, examples: np.ndarray, rng: np.random.Generator) -> None:
    """Sets weights like those after training: statistics fit the data, all groups are used."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.BatchNormalization):
            # With momentum 0, one training pass replaces the moving statistics.
            layer.momentum = 0.0
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0, 0.3, shape))
        if isinstance(layer, keras.layers.PReLU):
            layer.alpha.assign(rng.uniform(-0.2, 0.6, layer.alpha.shape))
    # The statistics of a layer depend on the layers before it, so repeat the pass.
    for _ in range(3):
        model(examples, training=True)
    if isinstance(model, GroupFace):
        model.ensemble.bias.assign(rng.normal(0, 0.1, model.ensemble.bias.shape))
        # Subtract the mean. Otherwise one group would win for all images.
        logits = np.asarray(model(examples, training=False)["group_logits"])
        classifier = model.get_layer("group_decision").classifier
        classifier.bias.assign(np.asarray(classifier.bias) - logits.mean(axis=0))


def measure(runtimes: dict[str, LiteRTRuntime], inputs: np.ndarray, runs: int) -> dict[str, float]:
    """Returns the median milliseconds of each runtime, run alternately."""
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    # Negative runs warm up and are not measured.
    for run in range(-20, runs):
        image = inputs[run % len(inputs)][np.newaxis]
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.run(image)
            if run >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def benchmark(groups: int, runs: int, folder: Path) -> dict[str, float | int | bool]:
    """Measures plain, hard and soft at one K."""
    keras.utils.set_random_seed(groups)
    rng = np.random.default_rng(groups)
    inputs = images(IMAGES, rng)
    plain = MobileFaceNet(embedding_dim=512)
    model = GroupFace(MobileFaceNet(), num_groups=groups, shared_dim=None)
    for each in (plain, model):
        trained_like(each, inputs[:16], rng)
    paths = {
        "plain": export_model(plain, folder / "plain.tflite"),
        "hard": export_model(model, folder / "hard.tflite", mode="hard"),
        "soft": export_model(model, folder / "soft.tflite", mode="soft"),
    }
    runtimes = {name: LiteRTRuntime(path, num_threads=1) for name, path in paths.items()}
    chosen = {
        int(runtimes["hard"].run(image[np.newaxis])["group_logits"].argmax()) for image in inputs
    }
    median = measure(runtimes, inputs, runs)
    ratio = median["hard"] / median["plain"]
    return {
        "groups": groups,
        "groups_chosen": len(chosen),
        "plain_latency_ms_median": median["plain"],
        "hard_latency_ms_median": median["hard"],
        "soft_latency_ms_median": median["soft"],
        "hard_ratio": ratio,
        "soft_ratio": median["soft"] / median["plain"],
        "target": TARGETS.get(groups, 1.25),
        "within_target": ratio <= TARGETS.get(groups, 1.25),
        "hard_size_bytes": paths["hard"].stat().st_size,
        "plain_size_bytes": paths["plain"].stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300, help="measured runs of each model")
    parser.add_argument(
        "--groups", type=int, nargs="+", default=[32, 128], metavar="K", help="numbers of groups"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    results = []
    for groups in arguments.groups:
        with tempfile.TemporaryDirectory() as folder:
            result = benchmark(groups, arguments.runs, Path(folder))
        results.append(result)
        print(
            f"K={groups}: plain {result['plain_latency_ms_median']:.2f} ms, "
            f"H {result['hard_latency_ms_median']:.2f} ms = {result['hard_ratio']:.3f}× "
            f"(at most {result['target']:.2f}×: {'yes' if result['within_target'] else 'NO'}), "
            f"S {result['soft_latency_ms_median']:.2f} ms = {result['soft_ratio']:.3f}×; "
            f"{result['groups_chosen']} groups chosen by {IMAGES} images"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
