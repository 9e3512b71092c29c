"""PyTorch's DataLoader, for comparison in input_pipeline.py. Runs in a separate environment.

    python _torch_loader.py DIR BATCH WORKERS

It runs one unmeasured epoch. Then it runs an epoch for each line that it reads, and prints the
images per second. This lets the caller alternate between both loaders.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Faces(Dataset):
    """Decodes, flips and crops after padding by 4, as torchvision users do."""

    def __init__(self, folder: str):
        self.files = sorted(Path(folder).rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        if torch.rand(()) < 0.5:
            pixels = pixels.flip(-1)
        top, left = torch.randint(0, 9, (2,)).tolist()
        padded = torch.nn.functional.pad(pixels, (4, 4, 4, 4))
        return padded[:, top : top + 112, left : left + 112].contiguous()


def main() -> None:
    folder, batch, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # The workers are the parallelism. More threads inside each would compete with them.
    torch.set_num_threads(1)
    loader = DataLoader(
        Faces(folder), batch, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=True, prefetch_factor=4,
    )  # fmt: skip

    def epoch() -> float:
        start, images = time.perf_counter(), 0
        for pixels in loader:
            images += len(pixels)
        return images / (time.perf_counter() - start)

    epoch()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(epoch(), flush=True)


if __name__ == "__main__":
    main()
