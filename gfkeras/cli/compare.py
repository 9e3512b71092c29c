"""`gfkeras compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._align import AlignOption, DetectorOption, FaceOption, make_aligner
from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, ThreadsOption, table, write_json


def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="An aligned face, or a photo.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    model: Annotated[str, typer.Option(help="A preset, a model folder or an artefact.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Say whether it is one person: cosine at least this."),
    ] = None,
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Compare two faces.

    The images are aligned faces (112x112 by five points) or, with --align, photos. A threshold
    for a model comes from `gfkeras evaluate`.
    """
    load_keras()
    import numpy as np

    from gfkeras.data import read_image
    from gfkeras.inference import Embedder, group_aware_similarity

    embedder = Embedder(model, flip=flip, num_threads=threads)
    aligner = make_aligner(align, detector, face, embedder.image_size)
    results: dict[str, object] = {}
    if aligner is None:
        images = [read_image(path, embedder.image_size) for path in (first, second)]
    else:
        aligned = [aligner.face(path) for path in (first, second)]
        images = [found.image for found in aligned]
        results["faces"] = [found.faces for found in aligned]
    result = embedder(np.stack(images))
    results["cosine"] = float(result.embedding[0] @ result.embedding[1])
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
    if aligner is not None:
        # Where there are several, another one may have been meant.
        rows.append(("Faces in the photos", "{} and {}".format(*results["faces"])))  # type: ignore[misc]
    if threshold is not None:
        results["same"] = float(results["cosine"]) >= threshold  # type: ignore[arg-type]
        rows.append(("Same person", "yes" if results["same"] else "no"))
    table(rows)
    write_json(json, results)
