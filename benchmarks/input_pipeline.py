"""Decoding, flipping and cropping 112×112 JPEG records, compared with PyTorch's DataLoader.

    python benchmarks/input_pipeline.py [--data DIR] [--epochs 7] [--json FILE]

Both read the same images from files in the system's cache. gfkeras reads records that
`gfkeras prepare` made of DIR (by default LFW next to the project) through `tf_dataset`, two batches
in parallel. PyTorch reads the files themselves with a DataLoader of two workers (Pillow, flip, crop
with padding 4), in a separate environment that is made on first use. Epochs alternate, and medians
are compared. "decoder alone" is OpenCV on bytes in memory in two threads, which is the upper limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
from _faces import aligned_folder
from _torch_environment import torch_python

from gfkeras.data import FaceBatches, RecordSet, tf_dataset
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.jpeg import decode_jpeg
from gfkeras.data.prepare import prepare

BATCH = 128
# Least speed as a multiple of PyTorch's, and in images per second.
TARGET_RATIO, TARGET_SPEED = 2.0, 6000


def speed_of(batches: FaceBatches, parallel: int) -> float:
    start, images = time.perf_counter(), 0
    for _, labels in tf_dataset(batches, parallel=parallel):
        images += len(labels)
    return images / (time.perf_counter() - start)


def decoder_alone(records: RecordSet) -> float:
    # Read everything first, so that only decoding is measured.
    content = [records.read(number) for number in range(len(records))]
    parts = [content[start : start + BATCH] for start in range(0, len(content), BATCH)]
    with ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda part: [decode_jpeg(jpeg) for jpeg in part] and None, parts):
            pass
        return len(content) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of aligned faces")
    parser.add_argument("--epochs", type=int, default=7, help="measured epochs of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    # The pipeline has its own threads. More threads inside OpenCV would disturb them.
    cv2.setNumThreads(1)
    folder = aligned_folder(arguments.data)
    python = torch_python()
    with tempfile.TemporaryDirectory() as temporary:
        prepare(folder, Path(temporary) / "records")
        records = RecordSet(Path(temporary) / "records")
        moved = Augmentation(flip=True, shift=4)
        cases = {
            "decode, flip, crop": FaceBatches(
                records, batch_size=BATCH, drop_remainder=True, augmentation=moved
            ),
            "decode only": FaceBatches(records, batch_size=BATCH, drop_remainder=True),
        }
        speeds: dict[str, list[float]] = {name: [] for name in (*cases, "PyTorch", "decoder alone")}
        peer = subprocess.Popen(
            [python, Path(__file__).with_name("_torch_loader.py"), folder, str(BATCH), "2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdout.readline()
        # Epoch −1 warms up and is not measured.
        for epoch in range(-1, arguments.epochs):
            found = {name: speed_of(batches, parallel=2) for name, batches in cases.items()}
            found["decoder alone"] = decoder_alone(records)
            peer.stdin.write("epoch\n")
            found["PyTorch"] = float(peer.stdout.readline())
            if epoch >= 0:
                for name, speed in found.items():
                    speeds[name].append(speed)
        peer.stdin.close()
        peer.wait()
    median = {name: statistics.median(values) for name, values in speeds.items()}
    ratio = median["decode, flip, crop"] / median["PyTorch"]
    print(f"{len(records):,} images of {folder.name}, batch {BATCH}, medians of images/s:")
    for name, speed in median.items():
        print(f"  {name:20} {speed:8,.0f}  ({min(speeds[name]):,.0f} to {max(speeds[name]):,.0f})")
    reached = ratio >= TARGET_RATIO and median["decode, flip, crop"] >= TARGET_SPEED
    print(
        f"{ratio:.2f} times PyTorch's DataLoader (at least {TARGET_RATIO:.1f}, and "
        f"{TARGET_SPEED:,} images/s: {'yes' if reached else 'NO'})"
    )
    if arguments.json:
        results = {"images": len(records), "images_per_second": median, "ratio": ratio}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
