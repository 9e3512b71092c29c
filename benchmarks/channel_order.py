"""Detecting exchanged red and blue channels from the colours of faces.

    python benchmarks/channel_order.py DATA [--count 3000]

For the aligned faces of LFW, CelebA and CFP in DATA: how often `gfkeras.data.check_images` warns
about single faces and about batches of four. RGB images give false alarms, and images with
exchanged channels give right alarms. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gfkeras.data import read_image
from gfkeras.data.images import BLUE_SKIN, log_red_to_blue

SETS = {"LFW": "lfw_aligned112", "CelebA": "celeba_aligned112", "CFP": "cfp_aligned112"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("--count", type=int, default=3000, help="number of random faces per set")
    options = parser.parse_args()
    print("| faces | count | alone: false alarms % | right alarms % | of four: false % | right % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, folder in SETS.items():
        files = sorted((options.data / folder).rglob("*.jpg"))
        order = np.random.default_rng(0).permutation(len(files))[: options.count]
        logs = np.concatenate([log_red_to_blue(read_image(files[i])[None]) for i in order])
        four = np.median(logs[: len(logs) // 4 * 4].reshape(-1, 4), axis=1)
        cells = [
            f"{100 * (sign * values < BLUE_SKIN).mean():.2f}"
            for values in (logs, four)
            for sign in (1, -1)
        ]
        print(f"| {name} | {len(logs):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
