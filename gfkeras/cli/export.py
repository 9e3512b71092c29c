"""`gfkeras export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._output import JsonOption, say, table, write_json
from gfkeras.files import size_bytes


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A preset or a model folder.")],
    format: Annotated[str, typer.Option(help="savedmodel, tflite or onnx.")],  # noqa: A002
    out: Annotated[Path, typer.Option(help="The file, or for savedmodel the folder, to write.")],
    precision: Annotated[
        str,
        typer.Option(
            help="fp32; of tflite and onnx also fp16 or int8; of tflite also int8-dynamic, "
            "int8-weights, int4-dynamic or int4-weights."
        ),
    ] = "fp32",
    calibration: Annotated[
        Path | None, typer.Option(help="Of int8: a folder of at least 32 aligned faces.")
    ] = None,
    inputs: Annotated[
        str, typer.Option(help="Of int8 in tflite: float32 or int8 images.")
    ] = "float32",
    outputs: Annotated[
        str, typer.Option(help="Of int8 in tflite: float32 or int8 embeddings.")
    ] = "float32",
    integer_only: Annotated[
        bool, typer.Option("--integer-only", help="Of int8 in tflite: no float operator inside.")
    ] = False,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(
            help="Of int8 in tflite: leave the costliest layers float up to this ratio to fp32."
        ),
    ] = None,
    qat: Annotated[
        bool,
        typer.Option("--qat", help="Of int8 in tflite: fine-tune on all faces of --calibration."),
    ] = False,
    qat_epochs: Annotated[int, typer.Option(help="Of --qat: passes over the faces.")] = 4,
    detector: Annotated[
        Path | None, typer.Option(help="The YuNet file that checks the calibration faces.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="soft or hard; as trained by default.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="A fixed batch; any batch by default.")
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For the card; those of the model by default."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Write an artefact that runs without gfkeras, and its .json card."""
    load_keras()
    import gfkeras
    from gfkeras.cards.card import read_card
    from gfkeras.cli._about import about
    from gfkeras.cli._fine_tuning import fine_tuning
    from gfkeras.export import Int8Settings, QatSettings, check_precision, export_model

    check_precision(precision, format)
    settings = Int8Settings(
        inputs, outputs, integer_only, max_latency_ratio, QatSettings(qat_epochs) if qat else None
    )
    if precision != "int8" and (calibration is not None or settings != Int8Settings()):
        raise ValueError(
            "`--calibration`, `--inputs`, `--outputs`, `--integer-only`, `--max-latency-ratio` and "
            f"`--qat` need --precision int8. Received: --precision {precision}"
        )
    if precision == "int8" and calibration is None:
        raise ValueError("`--precision int8` needs --calibration DIR, a folder of aligned faces.")
    if format == "onnx" and settings != Int8Settings():
        raise ValueError(
            "`--inputs`, `--outputs`, `--integer-only`, `--max-latency-ratio` and `--qat` need "
            f"--format tflite. Received: --format {format}"
        )
    loaded = gfkeras.load(model)
    known = about(model, loaded, mode, thresholds)
    faces = None
    if calibration is not None:
        from gfkeras.cli._calibration import calibration_faces

        shape = loaded.input_shape[1:]
        faces = calibration_faces(calibration, shape, detector, all_of_them=qat)
    with fine_tuning(settings) as int8:
        path = export_model(
            loaded,
            out,
            format=format,
            precision=precision,
            mode=mode,
            batch_size=batch_size,
            calibration=faces,
            int8=int8 if precision == "int8" else None,
            about=known,
        )
    size = size_bytes(path)
    rows: list[tuple[str, Any]] = [("Artefact", path), ("Size", f"{size / 2**20:.2f} MiB")]
    card = read_card(path) or {}
    if "int4_layers" in card:
        rows.append(("Layers in int4", len(card["int4_layers"])))
    results = {"path": path, "format": format, "precision": precision, "size_bytes": size}
    if faces is not None:
        made = card["int8"]
        chosen = made["statistic"]
        cosine = made["mean_cosine"][chosen]
        rows += [("Ranges", chosen), ("Cosine to float", f"{cosine:.4f} on faces kept back")]
        if made["group_agreement"] is not None:
            rows.append(("Same group", f"{100 * made['group_agreement']:.1f}%"))
        if qat and chosen != "qat":
            rows.append(("Fine-tuning", f"undone: {made['mean_cosine']['qat']:.4f}"))
        if made["simulated_cosine"] is not None:
            rows.append(("As simulated", f"{made['simulated_cosine']:.4f}, cosine to the file's"))
        if made["float_layers"]:
            rows.append(("Float layers", ", ".join(made["float_layers"])))
        results["int8"] = made
    table(rows)
    say(f"Check it with: gfkeras verify {path} {model} --data DIR")
    write_json(json, results)
