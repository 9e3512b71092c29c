"""Latency of one image and throughput of batches, for several numbers of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.inference.embedder import Embedder
from gfkeras.inference.foreign_artefacts import ANY_RANGE

if TYPE_CHECKING:
    import keras

# A pool's threads spin for a while after their work; what is timed comes after they have stopped.
_UNMEASURED = 2
_IN_A_ROW = 10
_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Latency:
    """Attributes:
    threads: of the runtime; None where they are not the runtime's to choose (TensorFlow).
    latency_ms_median: one image, from uint8 pixels to a normalised embedding.
    latency_ms_p95: of the same calls.
    images_per_second: of batches, by their median time.
    """

    threads: int | None
    latency_ms_median: float
    latency_ms_p95: float
    images_per_second: float


def latencies(
    source: keras.Model | str | os.PathLike[str],
    threads: Sequence[int | None],
    repeats: int,
    batch_size: int,
) -> list[Latency]:
    """Measures all numbers of threads in one process, in turns of ten calls each.

    `repeats` calls of one image each, a fifth as many (at least 3) of batches; None threads: any.
    """
    # Any numbers take as long.
    embedders = [
        Embedder(source, batch_size=batch_size, num_threads=each, input_range=ANY_RANGE)
        for each in threads
    ]
    size = embedders[0].image_size
    # Several images, so that different groups of a hard model are chosen.
    images = np.random.default_rng(0).integers(
        0, 256, (max(_IMAGES, batch_size), size, size, 3), np.uint8
    )
    one = _in_turns(embedders, lambda run: images[run % _IMAGES][np.newaxis], repeats)
    many = _in_turns(embedders, lambda run: images[:batch_size], max(3, repeats // 5))
    return [
        Latency(
            threads=each,
            latency_ms_median=1e3 * float(np.median(singles)),
            latency_ms_p95=1e3 * float(np.quantile(singles, 0.95)),
            images_per_second=batch_size / float(np.median(batches)),
        )
        for each, singles, batches in zip(threads, one, many, strict=True)
    ]


def _in_turns(
    embedders: Sequence[Embedder], images: Callable[[int], np.ndarray], repeats: int
) -> list[list[float]]:
    """Seconds of `repeats` calls of each, which are given the images of the call's number."""
    seconds: list[list[float]] = [[] for _ in embedders]
    for embedder in embedders:
        for run in range(max(_UNMEASURED, repeats // 10)):
            embedder(images(run))
    while len(seconds[-1]) < repeats:
        for embedder, found in zip(embedders, seconds, strict=True):
            for run in range(-_UNMEASURED, min(_IN_A_ROW, repeats - len(found))):
                given = images(len(found))
                start = time.perf_counter()
                embedder(given)
                if run >= 0:
                    found.append(time.perf_counter() - start)
    return seconds
