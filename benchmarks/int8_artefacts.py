"""Integer and float16 artefacts of a real network, compared with float and with TensorFlow's own.

    python benchmarks/int8_artefacts.py [MODEL] [--data DATA] [--runs 300] [--lfw] [--json FILE]

MODEL is a model folder, such as `gfkeras zoo import` writes. Without it, InsightFace's
MobileFaceNet of MS1M is imported from $GFKERAS_DATA/models, and --lfw is on. DATA ($GFKERAS_DATA by
default) holds `lfw_aligned112` and `lfw_lists`.

Latency is measured for one image at a time on one thread, with all files alternately in one
process. Ratios of an .onnx file are to the fp32 .onnx. The cosine to the float model is measured on
one face of each of 300 people of pairsDevTest. With --lfw, accuracy and TAR on pairs.txt are added.
Calibration gets all faces of the people of peopleDevTrain who are in neither list, which is
checked. It uses 256 evenly spread faces, as with any folder, and fine-tuning uses all. TensorFlow's
own conversion gets every fifth face.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _faces import SHARED, ms1m, need

import gfkeras
from gfkeras.backbones import MobileFaceNet
from gfkeras.cards.card import read_card
from gfkeras.data import read_image
from gfkeras.evaluation import evaluate_pairs, read_pairs
from gfkeras.export import Int8Settings, QatSettings, export_form, export_model
from gfkeras.export.writers import frozen
from gfkeras.inference import Embedder
from gfkeras.inference.runtimes import LiteRTRuntime, OnnxRuntime, Runtime
from gfkeras.models import GroupFace

# Largest ratios of latency and of size to the float file, and least speed-up over the stock file.
LATENCY, SIZE, STOCK = 0.75, 0.30, 6.0
# Largest latency of int8 H-GroupFace as a multiple of its int8 backbone's, by K.
HEAD = {32: 1.20, 128: 1.25}


def names(path: Path) -> set[str]:
    """Returns the people of one of LFW's lists."""
    return {w for line in path.read_text().splitlines() for w in line.split() if not w.isdigit()}


def calibration_faces(data: Path) -> np.ndarray:
    """Returns (N, 112, 112, 3) uint8: all faces of people who are not scored."""
    lists = data / "lfw_lists"
    scored = names(lists / "pairs.txt") | names(lists / "pairsDevTest.txt")
    people = sorted(names(lists / "peopleDevTrain.txt") - scored)
    assert people
    assert not scored & set(people)
    return np.stack([
        read_image(file)
        for person in people
        for file in sorted((data / "lfw_aligned112" / person).iterdir())
    ])  # fmt: skip


def scored_faces(data: Path) -> np.ndarray:
    """Returns (300, 112, 112, 3) uint8: faces of other people."""
    people = sorted(names(data / "lfw_lists" / "pairsDevTest.txt"))[:300]
    return np.stack([read_image(min((data / "lfw_aligned112" / p).iterdir())) for p in people])


def stock(model: Any, faces: np.ndarray, path: Path) -> Path:
    """Writes TensorFlow's own full-integer conversion, with the same calibration faces."""
    import tensorflow as tf

    module = frozen(tf, export_form(model, batch_size=1))
    function = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]

    def examples() -> Iterator[list[np.ndarray]]:
        for face in faces:
            yield [face[np.newaxis].astype(np.float32)]

    converter.representative_dataset = examples
    path.write_bytes(converter.convert())
    return path


def latencies(paths: dict[str, Path], faces: np.ndarray, runs: int) -> dict[str, float]:
    """Returns the median milliseconds of each file, run alternately with another face each time."""
    runtimes: dict[str, Runtime] = {
        name: (OnnxRuntime if path.suffix == ".onnx" else LiteRTRuntime)(path, 1)
        for name, path in paths.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    # Negative runs warm up and are not measured.
    for run in range(-10, runs):
        image = faces[run % len(faces)][np.newaxis].astype(np.float32)
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.run(image)
            if run >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}


def two_kernels(path: Path, faces: np.ndarray) -> float:
    """Returns the mean cosine between XNNPACK's and LiteRT's own results for one int8 file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = []
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        interpreter = Interpreter(
            str(path), num_threads=1, experimental_op_resolver_type=resolver
        )  # fmt: skip
        run = interpreter.get_signature_runner()
        (name,) = run.get_input_details()
        rows = [run(**{name: face[np.newaxis].astype(np.float32)}) for face in faces[:100]]
        embedding = np.concatenate([row["embedding"] for row in rows])
        found.append(embedding / np.linalg.norm(embedding, axis=1, keepdims=True))
    return float((found[0] * found[1]).sum(axis=1).mean())


def opened(path: Path) -> Embedder:
    """Opens an artefact. The stock conversion has no card, and takes pixels like the model."""
    return Embedder(path, input_range=None if read_card(path) else (0, 255))


def whole_network(
    model: Any, data: Path, runs: int, lfw: bool, folder: Path, only: list[str]
) -> dict[str, Any]:
    """Measures precisions of one model: latency, size, cosine and, with `lfw`, accuracy.

    `only` are the precisions beside fp32, int8 and the stock conversion, or all if it is empty.
    """
    calibration, faces = calibration_faces(data), scored_faces(data)
    paths = {"fp32": export_model(model, folder / "fp32.tflite", batch_size=1)}
    for name, arguments in {
        "int8": {"precision": "int8", "calibration": calibration},
        "int8, fine-tuned": {
            "precision": "int8",
            "calibration": calibration,
            "int8": Int8Settings(qat=QatSettings()),
        },
        "int8, integer only": {
            "precision": "int8",
            "calibration": calibration,
            "int8": Int8Settings(integer_only=True),
        },
        "int8-dynamic": {"precision": "int8-dynamic"},
        "int8-weights": {"precision": "int8-weights"},
        "int4-dynamic": {"precision": "int4-dynamic"},
        "int4-weights": {"precision": "int4-weights"},
    }.items():
        if only and name not in ["int8", *only]:
            continue
        file = folder / f"{name.replace(', ', '-').replace(' ', '-')}.tflite"
        paths[name] = export_model(model, file, batch_size=1, **arguments)
        if (made := (read_card(file) or {}).get("int8")) is not None:
            print(f"{name}: on faces kept back {made['mean_cosine']}, chosen {made['statistic']}, "
                  f"file to its simulation {made.get('simulated_cosine')}", flush=True)  # fmt: skip
    for name, arguments in {
        "onnx fp32": {},
        "onnx fp16": {"precision": "fp16"},
        "onnx int8": {"precision": "int8", "calibration": calibration},
    }.items():
        if only and name not in only:
            continue
        file = folder / f"{name.replace(' ', '-')}.onnx"
        paths[name] = export_model(model, file, format="onnx", batch_size=1, **arguments)
    paths["stock int8"] = stock(model, calibration[::5], folder / "stock.tflite")
    milliseconds = latencies(paths, faces, runs)
    # The float file is the reference for the cosine of all other files.
    expected = opened(paths["fp32"])(faces).embedding
    rows = {}
    print(f"int8: cosine of one file in two runtimes {two_kernels(paths['int8'], faces):.4f}")
    for name, path in paths.items():
        float_file = "onnx fp32" if path.suffix == ".onnx" and "onnx fp32" in paths else "fp32"
        row = {
            "latency_ms_median": milliseconds[name],
            "latency_ratio": milliseconds[name] / milliseconds[float_file],
            "size_bytes": path.stat().st_size,
            "size_ratio": path.stat().st_size / paths[float_file].stat().st_size,
            "mean_cosine": float((opened(path)(faces).embedding * expected).sum(axis=1).mean()),
        }
        if lfw:
            pairs = read_pairs(data / "lfw_lists" / "pairs.txt", data / "lfw_aligned112")
            figures = evaluate_pairs(opened(path).embed_files, pairs).to_json()
            row |= {"accuracy": figures["accuracy"], "tar_1e-3": figures["tar_at_far"]["1e-3"]}
        rows[name] = row
    return rows


def group_head(groups: int, data: Path, runs: int, folder: Path) -> float:
    """Returns the latency of int8 H-GroupFace over that of its int8 backbone with an FC of 512."""
    from h_groupface_latency import trained_like

    calibration, faces = calibration_faces(data), scored_faces(data)
    rng = np.random.default_rng(groups)
    models = {
        "plain": MobileFaceNet(embedding_dim=512),
        "hard": GroupFace(MobileFaceNet(), num_groups=groups, shared_dim=None, mode="hard"),
    }
    paths = {}
    for name, model in models.items():
        trained_like(model, faces[:16], rng)
        paths[name] = export_model(
            model, folder / f"{name}.tflite", precision="int8", batch_size=1,
            # The weights are random, so a few faces are enough to calibrate the latency test.
            calibration=calibration[:48],
        )  # fmt: skip
    milliseconds = latencies(paths, faces, runs)
    return milliseconds["hard"] / milliseconds["plain"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", help="model folder")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with the LFW data")
    parser.add_argument("--runs", type=int, default=300, help="measured runs of each file")
    parser.add_argument(
        "--lfw", action=argparse.BooleanOptionalAction, help="also measure accuracy on pairs.txt"
    )
    parser.add_argument(
        "--groups", type=int, nargs="*", default=[32, 128], metavar="K", help="numbers of groups"
    )
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="PRECISION", help="beside fp32 and int8"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    need(arguments.data / "lfw_aligned112", arguments.data / "lfw_lists")
    model = gfkeras.load(arguments.model) if arguments.model else ms1m()
    lfw = not arguments.model if arguments.lfw is None else arguments.lfw
    with tempfile.TemporaryDirectory() as folder:
        rows = whole_network(
            model, arguments.data, arguments.runs, lfw, Path(folder), arguments.only
        )
    for name, row in rows.items():
        accuracy = (
            f", LFW {100 * row['accuracy']:.2f} %, TAR@1e-3 {100 * row['tar_1e-3']:.2f} %"
            if "accuracy" in row
            else ""
        )
        print(
            f"{name:20s} {row['latency_ms_median']:6.2f} ms = {row['latency_ratio']:.2f}×, "
            f"{row['size_bytes'] / 2**20:.2f} MiB = {row['size_ratio']:.3f}×, "
            f"cosine {row['mean_cosine']:.4f}{accuracy}"
        )
    int8, original = rows["int8"], rows["stock int8"]
    faster = original["latency_ms_median"] / int8["latency_ms_median"]
    for text, reached in (
        (f"latency at most {LATENCY} of fp32", int8["latency_ratio"] <= LATENCY),
        (f"size at most {SIZE} of fp32", int8["size_ratio"] <= SIZE),
        (f"at least {STOCK:g} times as fast as the stock conversion", faster >= STOCK),
    ):
        print(f"int8: {text}: {'yes' if reached else 'NO'}")
    print(f"int8: {faster:.1f} times as fast as the stock conversion")
    heads = {}
    for groups in arguments.groups:
        with tempfile.TemporaryDirectory() as folder:
            heads[groups] = group_head(groups, arguments.data, arguments.runs, Path(folder))
        limit = HEAD.get(groups, 1.25)
        print(
            f"int8 H-GroupFace, K={groups}: {heads[groups]:.3f}× its backbone with an FC of 512 "
            f"(at most {limit:.2f}×: {'yes' if heads[groups] <= limit else 'NO'})"
        )
    if arguments.json:
        results = {"precisions": rows, "head_ratio": heads}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
