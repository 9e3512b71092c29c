"""`gfkeras bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, mib, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.inference.measuring import Measurement

# Tensors of one kind that are named; the names of more say little.
_TENSORS = 3


def command(
    model: options.ModelArgument,
    threads: Annotated[
        str | None,
        Option(
            metavar="N,N,…",
            help="Threads of LiteRT or ONNX Runtime, each measured; 1 and all processors by "
            "default. TensorFlow's are set with TF_NUM_INTRAOP_THREADS.",
        ),
    ] = None,
    batch_size: Annotated[int, Option(min=1, help="Images at once for throughput.")] = 32,
    repeats: Annotated[int, Option(min=3, help="Measured runs of each kind.")] = 50,
    record: Annotated[
        bool, Option("--record", help="Write the latency into the artefact's card too.")
    ] = False,
    json: options.Json = None,
) -> None:
    """Measure latency, throughput and memory; of .tflite and .onnx files also each operator.

    Operators are timed on one thread by the runtime's own profiler; Keras models and SavedModels
    have no such table. A warning names what XNNPACK leaves to slower kernels.
    """
    counts = _counts(threads)
    from gfkeras.tasks.bench import bench

    measured = bench(
        model, counts, batch_size=batch_size, repeats=repeats, record=record, command=command_line()
    )
    _print(measured)
    write_json(json, measured.to_json())


def _counts(threads: str | None) -> list[int] | None:
    if threads is None:
        return None
    parts = [part.strip() for part in threads.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            "`threads` must be one number or several with commas between, each at least 1, such "
            f"as 1,2,4. Received: threads={threads!r}"
        )
    return [int(part) for part in parts]


def _print(measured: Measurement) -> None:
    columns(
        ("threads", "median ms", "p95 ms", f"images/s in batches of {measured.batch_size}"),
        [
            (
                "TensorFlow's" if each.threads is None else str(each.threads),
                f"{each.latency_ms_median:.2f}",
                f"{each.latency_ms_p95:.2f}",
                f"{each.images_per_second:.1f}",
            )
            for each in measured.latencies
        ],
    )
    table([("Size", mib(measured.size_bytes)), ("Memory", mib(measured.peak_memory_bytes))])
    if measured.operators is None:
        say(f"No table of operators: {measured.operators_missing}.")
    else:
        rows = [
            (each.name, each.runner, str(each.count), f"{each.microseconds:.0f}",
             f"{each.share:.1%}")
            for each in measured.operators
        ]  # fmt: skip
        whole = measured.run_microseconds or 0.0
        between = whole - sum(each.microseconds for each in measured.operators)
        if whole:
            rows.append(("between operators", "", "", f"{between:.0f}", f"{between / whole:.1%}"))
        columns(("operator", "by", "count", "µs", "share"), rows)
    for kind in measured.not_taken or ():
        first = ", ".join(f"{op.index} {_name(op.tensor)}" for op in kind.operators[:_TENSORS])
        more = len(kind.operators) - _TENSORS
        share = "" if kind.share is None else f", {kind.share:.1%} of the time"
        typer.echo(
            f"warning: XNNPACK does not take {len(kind.operators)} × {kind.name} ({kind.dtype})"
            f"{share}: operator {first}{f' and {more} more' if more > 0 else ''}",
            err=True,
        )


def _name(tensor: str) -> str:
    """The first of the names that the converter has joined."""
    return tensor.partition(";")[0]
