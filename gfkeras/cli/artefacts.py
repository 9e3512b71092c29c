"""`gfkeras export`, `verify` and `bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, list_skipped, mib, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.inference.measuring import Measurement
    from gfkeras.tasks.export import Export
    from gfkeras.tasks.verify import Verification


def export_command(
    model: Annotated[str, Argument(metavar="MODEL", help="A preset or a model folder.")],
    format: Annotated[str, Option(help="savedmodel, tflite or onnx.")],  # noqa: A002
    out: Annotated[
        Path,
        Option(callback=options.writable, help="File to write. For savedmodel: folder to write."),
    ],
    precision: str = Option(
        "fp32",
        help="fp32. tflite and onnx: also fp16 and int8. tflite: also int8-dynamic, "
        "int8-weights, int4-dynamic and int4-weights.",
    ),
    calibration: Annotated[
        Path | None, Option(help="For int8: folder with at least 32 aligned faces.")
    ] = None,
    inputs: str = Option("float32", help="For int8 tflite: dtype of images, float32 or int8."),
    outputs: str = Option("float32", help="For int8 tflite: dtype of embeddings, float32 or int8."),
    integer_only: bool = Option(
        False, "--integer-only", help="For int8 tflite: use integer operators throughout."
    ),
    max_latency_ratio: float | None = Option(
        None,
        help="For int8 tflite: keep the layers that lose most accuracy in float while the "
        "latency stays below this multiple of fp32's.",
    ),
    qat: bool = Option(
        False,
        "--qat",
        help="For int8 tflite: fine-tune the quantised network on all faces of --calibration.",
    ),
    qat_epochs: int = Option(4, help="With --qat: epochs of fine-tuning."),
    detector: Annotated[
        Path | None, Option(help="YuNet file that checks the calibration faces.")
    ] = None,
    mode: options.Mode = None,
    batch_size: int | None = Option(
        None, min=1, help="Fixed number of images per call. By default, any number."
    ),
    thresholds: Annotated[
        Path | None,
        Option(metavar="FILE", help="Thresholds to write into the card. By default, the model's."),
    ] = None,
    json: options.Json = None,
) -> None:
    """Export a model to a file that runs without gfkeras.

    Writes a card next to it, a .json file with input, output and thresholds.
    """
    from gfkeras.backend import load_keras
    from gfkeras.tasks.export import export

    load_keras()
    from gfkeras.export import Int8Settings, QatSettings

    tuning = QatSettings(qat_epochs) if qat else None
    # The export captures what converters write to stderr, so the progress bar has a copy of it.
    with os.fdopen(os.dup(2), "w") as stderr, stages(False, stderr) as progress:
        done = export(
            model, out, format, precision, calibration=calibration, detector=detector, mode=mode,
            int8=Int8Settings(inputs, outputs, integer_only, max_latency_ratio, tuning),
            batch_size=batch_size, thresholds=thresholds, progress=progress,
        )  # fmt: skip
    for note in done.notes:
        say(note)
    table(_rows_export(done))
    say(f"Check it with: gfkeras verify {done.path} {model} --data DIR")
    write_json(json, done.to_json())


def _rows_export(done: Export) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("Artefact", done.path), ("Size", mib(done.size_bytes))]
    if "int4_layers" in done.card:
        rows.append(("Layers in int4", len(done.card["int4_layers"])))
    made = done.int8
    if made is None:
        return rows
    chosen, cosine = made["statistic"], made["mean_cosine"]
    rows.append(("Ranges", chosen))
    rows.append(("Cosine to float", f"{cosine[chosen]:.4f} on held-out faces"))
    if made["group_agreement"] is not None:
        rows.append(("Same group", f"{100 * made['group_agreement']:.1f}%"))
    if "qat" in cosine and chosen != "qat":
        rows.append(("Fine-tuning", f"undone: {cosine['qat']:.4f}"))
    if made["simulated_cosine"] is not None:
        rows.append(("Simulation", f"cosine {made['simulated_cosine']:.4f} to the file"))
    if made["float_layers"]:
        rows.append(("Float layers", ", ".join(made["float_layers"])))
    return rows


def _rows_verify(result: Verification) -> list[tuple[str, Any]]:
    parity = result.parity
    rows: list[tuple[str, Any]] = [
        ("Images", parity.images),
        ("Precision", parity.precision),
        ("Cosine", f"{parity.mean_cosine:.6f} mean, {parity.min_cosine:.6f} least"),
        ("Largest error", parity.max_abs_error),
    ]
    if others := len(parity.group_disagreements):
        rows.append(("Other group", f"{others} images, {parity.near_ties} of them near a tie"))
    return [*rows, ("Skipped", len(result.skipped)), ("Passed", "yes" if parity.passed() else "no")]


def verify_command(
    artefact: Annotated[str, Argument(metavar="ARTEFACT", help="Output of `gfkeras export`.")],
    model: options.ModelArgument,
    data: Annotated[Path, Option(help="Folder with one folder of images per person.")],
    limit: int = Option(200, min=1, help="Number of images, evenly spread over the folder."),
    threads: options.Threads = None,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Check that an artefact gives the same embeddings as the model.

    Fails if a difference is over the tolerance of the artefact's precision. docs/export.md lists
    the tolerances.
    """
    from gfkeras.tasks.verify import verify

    opened = options.model_file(str(artefact), input_range, trust)
    result = verify(opened, model, data, limit=limit, threads=threads)
    # Write the results before `require`, which raises if the artefact is over the tolerance.
    write_json(json, result.to_json())
    table(_rows_verify(result))
    list_skipped(result.skipped)
    result.require()
    say(f"The artefact is within the tolerance of {result.parity.precision}.")


# The warning names so many tensors and counts the others, to stay on one or two lines.
_TENSORS = 3


def bench_command(
    model: options.ModelArgument,
    threads: str | None = Option(
        None,
        metavar="N,N,…",
        help="Numbers of threads to measure LiteRT or ONNX Runtime with. By default, 1 and the "
        "number of processors. For TensorFlow, set TF_NUM_INTRAOP_THREADS.",
    ),
    batch_size: int = Option(32, min=1, help="Images per batch, for the throughput."),
    repeats: int = Option(50, min=3, help="Number of timed runs of each measurement."),
    record: bool = Option(
        False, "--record", help="Also write the latency into the artefact's card."
    ),
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Measure a model's latency, throughput and memory.

    For .tflite and .onnx files, a table lists the time of each operator. The runtime's profiler
    measures it on one thread. A warning names the operators that XNNPACK leaves to slower kernels.
    """
    counts = options.numbers("threads", threads)
    from gfkeras.tasks.bench import bench

    measured = bench(
        options.model_file(model, None, trust),
        counts, batch_size=batch_size, repeats=repeats, record=record,
        command=command_line(),
    )  # fmt: skip
    _print_bench(measured)
    write_json(json, measured.to_json())


def _print_bench(measured: Measurement) -> None:
    latencies = [
        (
            each.threads or "TensorFlow's",
            *(f"{ms:.2f}" for ms in (each.latency_ms_median, each.latency_ms_p95)),
            f"{each.images_per_second:.1f}",
        )
        for each in measured.latencies
    ]
    batches = f"images/s in batches of {measured.batch_size}"
    columns(("threads", "median ms", "p95 ms", batches), latencies)
    table([("Size", mib(measured.size_bytes)), ("Memory", mib(measured.peak_memory_bytes))])
    if measured.operators is None:
        say(f"No table of operators: {measured.operators_missing}.")
    else:
        rows: list[tuple[Any, ...]] = [
            (each.name, each.runner, each.count, f"{each.microseconds:.0f}", f"{each.share:.1%}")
            for each in measured.operators
        ]
        # The operators do not add up to the time of a run: the runtime works between them.
        whole = measured.run_microseconds or 0.0
        between = whole - sum(each.microseconds for each in measured.operators)
        if whole:
            rows.append(("between operators", "", "", f"{between:.0f}", f"{between / whole:.1%}"))
        columns(("operator", "by", "count", "µs", "share"), rows)
    for kind in measured.not_taken or ():
        # After fusing operators, the converter joins their names with semicolons.
        named = [f"{op.index} {op.tensor.partition(';')[0]}" for op in kind.operators[:_TENSORS]]
        first = ", ".join(named)
        more = len(kind.operators) - _TENSORS
        share = "" if kind.share is None else f", {kind.share:.1%} of the time"
        say(
            f"warning: XNNPACK does not run {len(kind.operators)} × {kind.name} ({kind.dtype})"
            f"{share}: operator {first}{f' and {more} more' if more > 0 else ''}",
            error=True,
        )
