"""`gfkeras bench`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import (
    JsonOption,
    ModelArgument,
    ThreadsOption,
    size_bytes,
    table,
    write_json,
)


def command(
    model: ModelArgument,
    threads: ThreadsOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once for throughput.")] = 32,
    repeats: Annotated[int, typer.Option(min=3, help="Measured runs of each kind.")] = 50,
    json: JsonOption = None,
) -> None:
    """Measure the latency of one image and the throughput of batches."""
    load_keras()
    import numpy as np

    from gfkeras.inference import Embedder

    embedder = Embedder(model, batch_size=batch_size, num_threads=threads)
    images = np.random.default_rng(0).integers(0, 256, (batch_size, 112, 112, 3), np.uint8)
    single = _seconds(lambda: embedder(images[:1]), repeats)
    batch = _seconds(lambda: embedder(images), max(3, repeats // 5))
    results = {
        "latency_ms_median": 1e3 * float(np.median(single)),
        "latency_ms_p90": 1e3 * float(np.quantile(single, 0.9)),
        "images_per_second": batch_size / float(np.median(batch)),
        "batch_size": batch_size,
        "threads": threads,
        "size_bytes": size_bytes(Path(model)) if Path(model).exists() else None,
    }
    table(list(results.items()))
    write_json(json, results)


def _seconds(run: Callable[[], object], repeats: int) -> list[float]:
    """Times of single calls, after a tenth as many to warm up."""
    import time

    seconds = []
    for index in range(repeats + max(2, repeats // 10)):
        start = time.perf_counter()
        run()
        if index >= max(2, repeats // 10):
            seconds.append(time.perf_counter() - start)
    return seconds
