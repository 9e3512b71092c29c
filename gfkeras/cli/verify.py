"""`gfkeras verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli.options import JsonOption, ModelArgument, ThreadsOption
from gfkeras.cli.output import say, table, write_json


def command(
    artefact: Annotated[str, typer.Argument(metavar="ARTEFACT", help="What `export` wrote.")],
    model: ModelArgument,
    data: Annotated[Path, typer.Option(help="Folder with one folder of images per person.")],
    limit: Annotated[int, typer.Option(min=1, help="How many images, evenly spread.")] = 200,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Compare an artefact's embeddings with the model's, image by image.

    Fails over the tolerance of the artefact's precision; docs/export.md lists the tolerances.
    """
    from gfkeras.tasks.verify import verify

    result = verify(artefact, model, data, limit=limit, threads=threads)
    results = result.to_json()
    write_json(json, results)
    table(list(results.items()))
    result.require()
    say(f"The artefact keeps the tolerance of {result.parity.precision}.")
