"""Latency of one image and throughput of batches, by number of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data.images import face_size
from gfkeras.inference.embedder import Embedder
from gfkeras.inference.foreign_artefacts import ANY_RANGE

if TYPE_CHECKING:
    import keras

# Number of calls before each series that are not timed. The threads of another embedder's pool spin
# for a while after their work, and these calls wait until they stop.
_UNMEASURED = 2
_IN_A_ROW = 10
_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one image, from uint8 pixels to a normalised embedding, and throughput of batches.

    `threads` is None if the runtime does not choose their number (TensorFlow). The throughput is
    computed from the median time.
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
    """Measures all numbers of threads in one process, alternating every ten calls.

    Each number of threads gets `repeats` calls with one image, and a fifth as many (at least 3)
    with a batch. None threads are the runtime's default.
    """
    # The range of the pixels does not change the time.
    embedders = [
        Embedder(source, batch_size=batch_size, num_threads=each, input_range=ANY_RANGE)
        for each in threads
    ]
    size = face_size(embedders[0].image_size)
    # Different images make a hard model choose different groups, whose weights are not yet cached.
    images = np.random.default_rng(0).integers(
        0, 256, (max(_IMAGES, batch_size), *size, 3), np.uint8
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
    """Returns the seconds of `repeats` calls of each embedder. `images` returns a call's images.

    The embedders take turns, so a change of the machine's load affects all of them.
    """
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
