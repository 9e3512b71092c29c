"""`gfkeras embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from gfkeras.cli import options
from gfkeras.cli.output import list_skipped, table, write_json
from gfkeras.zoo import DEFAULT_PRESET


def command(
    sources: options.Photos,
    out: Annotated[Path, Option(help="The .npz file to write.")],
    model: options.Model = DEFAULT_PRESET,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    batch_size: Annotated[int | None, Option(min=1, help="Images embedded at once.")] = None,
    json: options.Json = None,
) -> None:
    """Embed the faces of photos into an .npz file.

    The face of each photo is found and aligned first, and a photo without one is listed as
    skipped; with --aligned the images are faces of 112x112, aligned by five points already.

    The file holds `embedding` (N, D), L2-normalised, `path` (N,) and, of a model with groups,
    `group_feature` (N, 256) and `group` (N,).
    """
    from gfkeras.tasks.embed import embed

    found = embed(
        sources, out, model, aligned=aligned, detector=detector, face=face, flip=flip,
        threads=threads, batch_size=batch_size,
    )  # fmt: skip
    count, width = found.embedding.shape
    table(
        [
            ("Embedded", f"{count:,} images, {width} numbers each"),
            ("Skipped", f"{len(found.skipped):,}"),
            ("File", found.path),
        ]
    )
    list_skipped(found.skipped)
    write_json(json, found.to_json())
