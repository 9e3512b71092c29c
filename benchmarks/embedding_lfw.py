r"""Embedding LFW's 7,701 images of pairs.txt, compared with the bare interpreter.

    python benchmarks/embedding_lfw.py [MODEL.tflite] [--data DATA/lfw_aligned112] \
        [--pairs DATA/lfw_lists/pairs.txt]

Without MODEL, InsightFace's MobileFaceNet of MS1M is imported from $GFKERAS_DATA/models.

`Embedder.embed_files` reads, decodes, embeds and normalises. For comparison, LiteRT's interpreter
runs alone with two threads over images in memory, one or eight at a time (the best sizes here).
Then the embeddings are stored as float16 and int8, as in a gallery, and the loss of accuracy on the
pairs is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _faces import SHARED, aligned_folder, need, tflite_of

from gfkeras.data import read_image
from gfkeras.evaluation import PairList, evaluate_pairs, read_pairs
from gfkeras.inference import Embedder
from gfkeras.inference.gallery.column import STORAGES, decode, encode
from gfkeras.inference.runtimes import LiteRTRuntime

# Largest time as a multiple of the bare interpreter's, and largest loss of accuracy.
TARGET, LOSS = 1.1, 0.0005
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", help="a .tflite file")
    parser.add_argument("--data", type=Path, help="folder of aligned faces")
    parser.add_argument(
        "--pairs", type=Path, default=SHARED / "lfw_lists" / "pairs.txt", help="pairs file"
    )
    parser.add_argument("--rounds", type=int, default=3, help="measured runs of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    folder = aligned_folder(arguments.data)
    need(arguments.pairs)
    pairs = read_pairs(arguments.pairs, folder)
    with tflite_of(arguments.model) as model:
        measure(pairs, model, arguments.rounds, arguments.json)


def measure(pairs: PairList, model: Path, rounds: int, json_file: Path | None) -> None:
    files = pairs.files()
    images = np.stack([read_image(file) for file in files]).astype(np.float32)
    embedder = Embedder(model, num_threads=THREADS)
    runtime = LiteRTRuntime(model, THREADS)

    def bare(batch: int) -> Callable[[], None]:
        def run() -> None:
            for start in range(0, len(images), batch):
                runtime.run(images[start : start + batch])

        return run

    ways = {
        "bare, one at a time": bare(1),
        "bare, eight at a time": bare(8),
        "embed_files": lambda: embedder.embed_files(files),
        "arrays": lambda: embedder(images),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    # The least time counts, because a busy machine only makes runs slower.
    seconds = {name: min(values) for name, values in taken.items()}
    peer = min(seconds["bare, one at a time"], seconds["bare, eight at a time"])
    print(f"{len(files):,} images, {THREADS} threads")
    for name, value in seconds.items():
        print(f"  {name:22} {value:6.2f} s = {value / peer:.3f} of the bare interpreter's best")
    verdict = "yes" if seconds["embed_files"] / peer <= TARGET else "NO"
    print(f"  embed_files at most {TARGET}: {verdict}")
    whole = embedder.embed_files(files)
    accuracy = {}
    for storage in STORAGES:
        kept = decode(encode(whole.embedding, storage))

        def coded(paths: list[Path], kept: np.ndarray = kept) -> object:
            # Embed one file to get a result of the right type, then put the stored embeddings in.
            found = embedder.embed_files(paths[:1])
            return type(found)(kept, None, None, np.arange(len(kept)), [])

        accuracy[storage] = evaluate_pairs(coded, pairs).accuracy
        lost = accuracy["float32"] - accuracy[storage]
        bytes_of = STORAGES[storage]
        size = np.dtype(bytes_of).itemsize * kept.shape[1]
        verdict = "yes" if lost <= LOSS else "NO"
        print(
            f"  {storage}, {size} bytes a face: {accuracy[storage]:.2%}, {100 * lost:+.3f} points "
            f"lost (at most {100 * LOSS:.2f}: {verdict})"
        )
    if json_file:
        results = {"seconds": seconds, "accuracy": accuracy}
        json_file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
