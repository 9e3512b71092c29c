"""`gfkeras compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, ThreadsOption, table, write_json


def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="An aligned face.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    model: Annotated[str, typer.Option(help="A preset, a model folder or an artefact.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Say whether it is one person: cosine at least this."),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Compare two faces.

    The images must be aligned already (112x112 by five points); photos are not aligned by
    this version. A threshold for a model comes from `gfkeras evaluate`.
    """
    load_keras()
    import numpy as np

    from gfkeras.data import read_image
    from gfkeras.inference import Embedder, group_aware_similarity

    images = np.stack([read_image(first), read_image(second)])
    result = Embedder(model, flip=flip, num_threads=threads)(images)
    results: dict[str, object] = {"cosine": float(result.embedding[0] @ result.embedding[1])}
    rows = [("Cosine", results["cosine"])]
    if result.group_feature is not None and result.group is not None:
        similarity = group_aware_similarity(
            result.embedding[:1],
            result.embedding[1:],
            result.group_feature[:1],
            result.group_feature[1:],
        )
        results["group_aware_similarity"] = float(np.asarray(similarity)[0])
        results["groups"] = [int(group) for group in result.group]
        rows += [
            ("Group-aware similarity", results["group_aware_similarity"]),
            ("Groups", "{} and {}".format(*results["groups"])),  # type: ignore[misc]
        ]
    if threshold is not None:
        results["same"] = float(results["cosine"]) >= threshold  # type: ignore[arg-type]
        rows.append(("Same person", "yes" if results["same"] else "no"))
    table(rows)
    write_json(json, results)
