"""Opening ten million records: seconds to the first shuffled batch.

    python benchmarks/opening_records.py [--records 10000000] [--json FILE]

The data set has a real manifest and a real index of all records. Its shards are hard links to one
shard of 8,192 records, so it needs little disk space. A new process measures the time from
`RecordSet(...)` to the first batch of `tf_dataset` with all records shuffled, without imports. For
comparison, tf.data's own reader reads the same shards. Its shuffle buffer of 100,000 mixes much
less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _faces import MadeFaces

from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.data.records import Manifest, RecordSet
from gfkeras.data.records.shard_files import ENTRY, write_index
from gfkeras.files import sha256

SHARD = 8192
# Most seconds to the first batch.
TARGET = 2.0


def make(folder: Path, records: int) -> None:
    """Writes a folder with that many records, in shards that are all one file."""
    prepare(MadeFaces(SHARD), folder / "one", PrepareOptions(shard_size=SHARD))
    manifest = Manifest.read(folder / "one")
    part = manifest.splits["train"]
    shard, index = part.shards[0], folder / "one" / part.index.file
    entries = np.load(index).astype(ENTRY)
    count = records // SHARD
    shards = []
    for number in range(count):
        name = f"train-{number:05d}-of-{count:05d}.tfrecord"
        # Hard links need no disk space, and each shard is still a separate file name.
        os.link(folder / "one" / shard.file, folder / name)
        shards.append(shard.model_copy(update={"file": name}))
    raw = folder / "raw"
    raw.write_bytes(entries.tobytes())
    whole = folder / part.index.file
    write_index(whole, SHARD * count, [raw] * count)
    part.shards, part.images = shards, SHARD * count
    # The reader checks size and hash of the index, so describe the larger index correctly.
    part.index.size_bytes, part.index.sha256 = whole.stat().st_size, sha256(whole)
    manifest.write(folder)


def print_seconds(folder: Path, peer: bool) -> None:
    import tensorflow as tf

    from gfkeras.data import FaceBatches, tf_dataset

    # Load the code that TensorFlow loads on first use. It belongs to the imports.
    list(tf.data.Dataset.range(2).map(lambda x: x + 1))
    start = time.perf_counter()
    if peer:
        files = tf.data.Dataset.from_tensor_slices(sorted(map(str, folder.glob("*.tfrecord"))))
        raw = files.interleave(tf.data.TFRecordDataset, cycle_length=16, num_parallel_calls=2)

        def decode(record):
            features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
            encoded = tf.io.parse_single_example(record, features)["image/encoded"]
            return tf.io.decode_jpeg(encoded, channels=3)

        dataset = raw.shuffle(100_000).map(decode, num_parallel_calls=2).batch(128)
    else:
        records = RecordSet(folder)
        dataset = tf_dataset(FaceBatches(records, batch_size=128, drop_remainder=True), parallel=2)
    next(iter(dataset))
    print(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000_000, help="number of records")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print_seconds(arguments.folder, arguments.peer)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, arguments.records)
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(3):
            for name, values in seconds.items():
                command = [sys.executable, __file__, "--folder", str(folder)]
                command += ["--peer"] if name == "peer" else []
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                values.append(float(run.stdout.split()[-1]))
        records = len(RecordSet(folder))
    ours, peer = (float(np.median(seconds[name])) for name in ("ours", "peer"))
    print(
        f"{records:,} records: {ours:.2f} s to the first batch, tf.data's reader {peer:.2f} s = "
        f"{ours / peer:.2f} (at most {TARGET:.0f} s: {'yes' if ours <= TARGET else 'NO'})"
    )
    if arguments.json:
        results = {"records": records, "seconds": ours, "peer_seconds": peer}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
