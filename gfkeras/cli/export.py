"""`gfkeras export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import mib, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.tasks.export import Export


def command(
    model: Annotated[str, Argument(metavar="MODEL", help="A preset or a model folder.")],
    format: Annotated[str, Option(help="savedmodel, tflite or onnx.")],  # noqa: A002
    out: Annotated[Path, Option(help="The file, or for savedmodel the folder, to write.")],
    precision: Annotated[
        str,
        Option(
            help="fp32; for tflite and onnx also fp16 or int8; for tflite also int8-dynamic, "
            "int8-weights, int4-dynamic or int4-weights."
        ),
    ] = "fp32",
    calibration: Annotated[
        Path | None, Option(help="For int8: a folder of at least 32 aligned faces.")
    ] = None,
    inputs: Annotated[str, Option(help="For int8 tflite: float32 or int8 images.")] = "float32",
    outputs: Annotated[
        str, Option(help="For int8 tflite: float32 or int8 embeddings.")
    ] = "float32",
    integer_only: Annotated[
        bool, Option("--integer-only", help="For int8 tflite: use integer operators throughout.")
    ] = False,
    max_latency_ratio: Annotated[
        float | None,
        Option(help="For int8 tflite: leave the costliest layers float up to this ratio to fp32."),
    ] = None,
    qat: Annotated[
        bool, Option("--qat", help="For int8 tflite: fine-tune on all faces of --calibration.")
    ] = False,
    qat_epochs: Annotated[int, Option(help="With --qat: passes over the faces.")] = 4,
    detector: Annotated[
        Path | None, Option(help="The YuNet file that checks the calibration faces.")
    ] = None,
    mode: options.Mode = None,
    batch_size: Annotated[
        int | None, Option(min=1, help="A fixed batch; any batch by default.")
    ] = None,
    thresholds: Annotated[
        Path | None, Option(metavar="FILE", help="For the card; those of the model by default.")
    ] = None,
    json: options.Json = None,
) -> None:
    """Write an artefact that runs without gfkeras, and its .json card."""
    from gfkeras.backend import load_keras
    from gfkeras.tasks.export import export

    load_keras()
    from gfkeras.export import Int8Settings, QatSettings

    tuning = QatSettings(qat_epochs) if qat else None
    # An export holds back what converters write to stderr; the bar goes past it.
    with os.fdopen(os.dup(2), "w") as stderr, stages(False, stderr) as progress:
        done = export(
            model,
            out,
            format,
            precision,
            calibration=calibration,
            int8=Int8Settings(inputs, outputs, integer_only, max_latency_ratio, tuning),
            detector=detector,
            mode=mode,
            batch_size=batch_size,
            thresholds=thresholds,
            progress=progress,
        )
    for note in done.notes:
        say(note)
    table(_rows(done))
    say(f"Check it with: gfkeras verify {done.path} {model} --data DIR")
    write_json(json, done.to_json())


def _rows(done: Export) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("Artefact", done.path), ("Size", mib(done.size_bytes))]
    if "int4_layers" in done.card:
        rows.append(("Layers in int4", len(done.card["int4_layers"])))
    made = done.int8
    if made is None:
        return rows
    chosen, cosine = made["statistic"], made["mean_cosine"]
    rows.append(("Ranges", chosen))
    rows.append(("Cosine to float", f"{cosine[chosen]:.4f} on faces kept back"))
    if made["group_agreement"] is not None:
        rows.append(("Same group", f"{100 * made['group_agreement']:.1f}%"))
    if "qat" in cosine and chosen != "qat":
        rows.append(("Fine-tuning", f"undone: {cosine['qat']:.4f}"))
    if made["simulated_cosine"] is not None:
        rows.append(("As simulated", f"{made['simulated_cosine']:.4f}, cosine to the file's"))
    if made["float_layers"]:
        rows.append(("Float layers", ", ".join(made["float_layers"])))
    return rows
