"""Many aligned faces into memory at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gfkeras.data.images import IMAGE_SIZE, ImageError, read_image


def decode_files(
    paths: Sequence[Path], size: int = IMAGE_SIZE, workers: int | None = None
) -> tuple[np.ndarray, list[int], list[tuple[Path, str]]]:
    """Decodes files with `read_image`, on several threads.

    Args:
        paths: N image files.
        size: height and width of the images.
        workers: threads; the number of processors by default.

    Returns:
        (M, size, size, 3) uint8 of those that could be read, the place in `paths` of each, and
        (path, reason) of the others.
    """

    def decode(path: Path) -> np.ndarray | ImageError:
        try:
            return read_image(path, size)
        except ImageError as error:
            return error

    images = np.empty((len(paths), size, size, 3), np.uint8)
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for place, found in enumerate(pool.map(decode, paths)):
            if isinstance(found, ImageError):
                skipped.append((paths[place], found.reason))
            else:
                images[len(kept)] = found
                kept.append(place)
    return images[: len(kept)], kept, skipped
