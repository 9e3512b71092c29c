"""A training step with and without TensorFlow's oneDNN kernels: MobileFaceNet, ArcFace.

    python benchmarks/onednn.py [--batch 32] [--turns 8] [--json FILE]

TensorFlow reads `TF_ENABLE_ONEDNN_OPTS` only at its start, so each setting has its own process. The
processes alternate in turns of three steps, and wall seconds are those of the last two. Processor
seconds of all threads are printed as well, because a busy machine disturbs them less.
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

SETTINGS = ("1", "0")


def work(batch: int) -> None:
    """Answers each line of stdin with the wall and the processor seconds of a step."""
    from training_step import STEPS_PER_TURN, our_turn, plain

    turn = our_turn(plain(), batch)
    for _ in sys.stdin:
        begin = time.process_time()
        wall = statistics.mean(turn())
        # A turn includes one step that its wall times leave out, but the processor time does not.
        each = (time.process_time() - begin) / (1 + STEPS_PER_TURN)
        print(json.dumps([wall, each]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=32, help="images in a batch")
    parser.add_argument("--turns", type=int, default=8, help="turns of each process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.batch)
        return
    workers = {
        setting: subprocess.Popen(
            [sys.executable, __file__, "--worker", "--batch", str(arguments.batch)],
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for setting in SETTINGS
    }  # fmt: skip
    seconds: dict[str, list[list[float]]] = {setting: [] for setting in SETTINGS}
    for _ in range(arguments.turns):
        for setting, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            # Waiting for the answer keeps the two processes from running at the same time.
            seconds[setting].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    found = {}
    for index, kind in enumerate(("wall", "processor")):
        on, off = ([turn[index] for turn in seconds[setting]] for setting in SETTINGS)
        ratio = statistics.median(b / a for a, b in zip(on, off, strict=True))
        found[kind] = {"on": on, "off": off, "ratio": ratio}
        print(
            f"{kind:9} ms a step, median (least): oneDNN on {1000 * statistics.median(on):.0f} "
            f"({1000 * min(on):.0f}), off {1000 * statistics.median(off):.0f} "
            f"({1000 * min(off):.0f}): off takes {ratio:.2f} times as long"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
