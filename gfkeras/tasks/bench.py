"""Latency, throughput and memory of a model or an artefact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfkeras.cards import card as cards
from gfkeras.files import PathLike
from gfkeras.inference.measuring import Measurement, measure
from gfkeras.tasks.card_content import latency_entries


def bench(
    model: PathLike,
    threads: Sequence[int] | None = None,
    *,
    batch_size: int = 32,
    repeats: int = 50,
    record: bool = False,
    command: str = "",
) -> Measurement:
    """Measures latency, throughput and memory; of .tflite and .onnx files also each operator.

    Operators are timed on one thread by the runtime's own profiler; Keras models and SavedModels
    have no such table.

    Args:
        model: a preset, a model folder or an artefact.
        threads: numbers of threads of LiteRT or ONNX Runtime, each measured; 1 and all processors
            by default. TensorFlow's are set with TF_NUM_INTRAOP_THREADS.
        batch_size: images at once for throughput.
        repeats: measured runs of each kind, at least 3.
        record: write the latency into the artefact's card too.
        command: with `record`, the command that the card names beside the measurements.

    Raises:
        ValueError: for a model that cannot be read, threads where they cannot be chosen, and with
            `record` for a model that has no card.

    Example:
        measured = bench("face.tflite", threads=[1, 2])
        print(measured.latencies[0].latency_ms_median)
    """
    if record:
        # A model without a card is refused before the work.
        cards.recordable_card(Path(model))
    measured = measure(model, threads, repeats, batch_size)
    for entry in latency_entries(measured, command) if record else ():
        cards.record(Path(model), "latency", entry)
    return measured
