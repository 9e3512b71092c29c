"""Time of `prepare` for aligned faces and for photos, and its memory by number of records.

    python benchmarks/prepare_speed.py [--data DIR] [--photos DIR] [--detector FILE]
        [--memory 1000 100000] [--json FILE]

The comparison is a simple loop: read a file, decode it with Pillow to check it, and write it into a
TFRecord with TensorFlow. It has no hashes, no index, no resume and one process. Both alternate,
three times each, and medians are compared. Memory is the peak resident size of `prepare`'s own
process and of its largest worker, in separate processes, on generated records (Linux). A million
records take two or three minutes: --memory 1000 1000000.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _faces import SHARED, MadeFaces, aligned_folder
from PIL import Image

from gfkeras.data.prepare import PrepareOptions, prepare

# Most seconds for the aligned images, and least photos aligned per second.
TARGET_SECONDS = 20.0
TARGET_PHOTOS = 250.0


def by_hand(folder: Path, out: Path) -> float:
    import tensorflow as tf

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    start = time.perf_counter()
    with tf.io.TFRecordWriter(str(out)) as writer:
        for label, person in enumerate(sorted(folder.iterdir())):
            for path in sorted(person.iterdir()):
                content = path.read_bytes()
                with Image.open(path) as image:
                    np.asarray(image.convert("RGB"))
                features = tf.train.Features(
                    feature={"image/encoded": feature(content), "image/class/label": feature(label)}
                )
                writer.write(tf.train.Example(features=features).SerializeToString())
    return time.perf_counter() - start


def speed(folder: Path) -> dict[str, float]:
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for run in range(4):
            start = time.perf_counter()
            images = prepare(folder, Path(temporary) / f"records{run}").images
            seconds = time.perf_counter() - start
            peer = by_hand(folder, Path(temporary) / f"{run}.tfrecord")
            if run:
                ours.append(seconds)
                theirs.append(peer)
    found = {
        "images": images, "seconds": statistics.median(ours), "peer": statistics.median(theirs),
    }  # fmt: skip
    found["ratio"] = found["peer"] / found["seconds"]
    print(
        f"{images:,} aligned images: {found['seconds']:.1f} s, by hand {found['peer']:.1f} s = "
        f"{found['ratio']:.2f} times as fast (at most {TARGET_SECONDS:.0f} s: "
        f"{'yes' if found['seconds'] <= TARGET_SECONDS else 'NO'})"
    )
    return found


def alignment(photos: Path, detector: Path) -> dict[str, float]:
    times = []
    with tempfile.TemporaryDirectory() as temporary:
        for run in range(4):
            start = time.perf_counter()
            options = PrepareOptions(align=True, detector=detector)
            result = prepare(photos, Path(temporary) / f"records{run}", options)
            if run:
                times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    each = seconds / result.items
    print(
        f"{result.items:,} photos aligned: {seconds:.1f} s, {1e3 * each:.2f} ms a photo, "
        f"{1 / each:,.0f} photos/s with the start of the processes (at least "
        f"{TARGET_PHOTOS:.0f}: {'yes' if 1 / each >= TARGET_PHOTOS else 'NO'})"
    )
    return {"photos": result.items, "seconds": seconds, "photos_per_second": 1 / each}


def memory(count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--made", str(count)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    parent, worker, seconds = map(float, run.stdout.split())
    print(
        f"{count:>9,} records: peak {parent:.0f} MB, of a worker {worker:.0f} MB; {seconds:.0f} s"
    )
    return {"records": count, "peak_mb": parent, "worker_peak_mb": worker, "seconds": seconds}


def print_peaks(count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        prepare(MadeFaces(count), Path(temporary) / "records", workers=2)
        seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    # Do not use getrusage: on Linux its peak includes that of the parent process.
    parent = int(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1])
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(parent / 1024, worker / 1024, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of aligned faces")
    parser.add_argument(
        "--photos",
        type=Path,
        default=SHARED / "lfw_raw250",
        metavar="DIR",
        help="folder of photos to align",
    )
    parser.add_argument(
        "--detector",
        type=Path,
        default=SHARED / "models" / "face_detection_yunet_2023mar.onnx",
        metavar="FILE",
    )
    parser.add_argument(
        "--memory",
        type=int,
        nargs="*",
        default=[1000, 100_000],
        metavar="N",
        help="numbers of records to measure memory with",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--made", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.made:
        print_peaks(arguments.made)
        return
    results: dict[str, object] = {}
    if arguments.data or (SHARED / "lfw_aligned112").is_dir():
        results["speed"] = speed(aligned_folder(arguments.data))
    else:
        print(f"speed left out: there is no {SHARED / 'lfw_aligned112'}; --data names a folder")
    if arguments.photos.is_dir() and arguments.detector.is_file():
        results["alignment"] = alignment(arguments.photos, arguments.detector)
    else:
        print(f"alignment left out: needs {arguments.photos} and {arguments.detector}")
    results["memory"] = [memory(count) for count in arguments.memory]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
