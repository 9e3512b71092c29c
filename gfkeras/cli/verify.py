"""`gfkeras verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._output import JsonOption, ModelArgument, ThreadsOption, say, table, write_json


def command(
    artefact: Annotated[str, typer.Argument(metavar="ARTEFACT", help="What `export` wrote.")],
    model: ModelArgument,
    data: Annotated[Path, typer.Option(help="Folder with one folder of images per person.")],
    limit: Annotated[int, typer.Option(min=1, help="How many images, evenly spread.")] = 200,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Compare an artefact's embeddings with the model's, image by image.

    Fails over the tolerance: a largest error of 1e-4 for fp32, a smallest cosine of 0.9995
    for fp16, a mean cosine of 0.985 and 98% of the groups for int8; others in docs/export.md.
    """
    load_keras()
    import numpy as np

    from gfkeras.data import FaceFolder
    from gfkeras.export import verify
    from gfkeras.inference import Embedder

    candidate = Embedder(artefact, num_threads=threads)
    reference = Embedder(model)
    folder = FaceFolder(data)
    chosen = np.linspace(0, len(folder) - 1, min(limit, len(folder))).astype(int)
    folder.paths = [folder.paths[i] for i in chosen]
    folder.labels = folder.labels[chosen]
    faces = folder.load()
    result = verify(reference, candidate, faces.images)
    # The folder also lists people without an image, and not everybody's were chosen.
    unreadable = {path for path, _ in faces.skipped} & set(folder.paths)
    results = result.to_json() | {"skipped": len(unreadable)}
    write_json(json, results)
    table(list(results.items()))
    result.require()
    say(f"The artefact keeps the tolerance of {result.precision}.")
