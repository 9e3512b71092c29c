"""Latency, throughput and memory of a model or an artefact."""

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
    """Measures a model's latency, throughput and memory.

    For .tflite and .onnx files, the runtime's profiler also measures the time of each operator, on
    one thread.

    Args:
        model: a preset, a model folder or an artefact.
        threads: numbers of threads to measure LiteRT or ONNX Runtime with. By default, 1 and the
            number of processors. For TensorFlow, set TF_NUM_INTRAOP_THREADS.
        batch_size: images per batch, for the throughput.
        repeats: number of timed runs of each measurement, at least 3.
        record: also write the latency into the artefact's card.
        command: with `record`, the command to write into the card.

    Raises:
        ValueError: if the model cannot be read, if `threads` is given for TensorFlow, or if
            `record` is given for a model without a card.

    Example:
        measured = bench("face.tflite", threads=[1, 2])
        print(measured.latencies[0].latency_ms_median)
    """
    if record:
        # Fail before the measurement if there is no card to write to.
        cards.recordable_card(Path(model))
    # Record after all measurements: an interrupted one must not leave half of the entries.
    measured = measure(model, threads, repeats, batch_size)
    for entry in latency_entries(measured, command) if record else ():
        cards.record(Path(model), "latency", entry)
    return measured
