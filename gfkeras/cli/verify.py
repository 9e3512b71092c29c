"""`gfkeras verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import say, table, write_json


def command(
    artefact: Annotated[str, Argument(metavar="ARTEFACT", help="What `export` wrote.")],
    model: options.ModelArgument,
    data: Annotated[Path, Option(help="Folder with one folder of images per person.")],
    limit: Annotated[int, Option(min=1, help="How many images, evenly spread.")] = 200,
    threads: options.Threads = None,
    json: options.Json = None,
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
