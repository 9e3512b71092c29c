"""`gfkeras export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, say, size_bytes, table, write_json


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A preset or a model folder.")],
    format: Annotated[str, typer.Option(help="savedmodel, tflite or onnx.")],  # noqa: A002
    out: Annotated[Path, typer.Option(help="The file, or for savedmodel the folder, to write.")],
    precision: Annotated[str, typer.Option(help="fp32 or fp16 (tflite).")] = "fp32",
    mode: Annotated[str | None, typer.Option(help="soft or hard; as trained by default.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="A fixed batch; any batch by default.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Write an artefact that runs without gfkeras, and its .json card."""
    load_keras()
    import gfkeras
    from gfkeras.export import export_model

    path = export_model(
        gfkeras.load(model),
        out,
        format=format,
        precision=precision,
        mode=mode,
        batch_size=batch_size,
    )
    size = size_bytes(path)
    table([("Artefact", path), ("Size", f"{size / 2**20:.2f} MiB")])
    say(f"Check it with: gfkeras verify {path} {model} --data DIR")
    write_json(json, {"path": path, "format": format, "precision": precision, "size_bytes": size})
