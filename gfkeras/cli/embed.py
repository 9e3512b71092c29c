"""`gfkeras embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, PhotoFaceOption, photo_aligner
from gfkeras.cli._output import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    ThreadsOption,
    say,
    table,
    write_json,
)


def command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE…", help="Photos, or folders of them."),
    ],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    model: ModelOption = DEFAULT_MODEL,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    face: PhotoFaceOption = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images embedded at once.")] = None,
    json: JsonOption = None,
) -> None:
    """Embed the faces of photos into an .npz file.

    The face of each photo is found and aligned first, and a photo without one is listed as
    skipped; with --aligned the images are faces of 112x112, aligned by five points already.

    It holds `embedding` (N, D), L2-normalised, `path` (N,) and, of a model with groups,
    `group_feature` (N, 256) and `group` (N,).
    """
    load_keras()
    import numpy as np

    from gfkeras.files import replacing
    from gfkeras.inference import Embedder

    if out.suffix.lower() != ".npz":
        raise ValueError(f"`out` must end in .npz. Received: out={str(out)!r}")
    paths = images_of(sources)
    embedder = Embedder(model, flip=flip, batch_size=batch_size, num_threads=threads)
    aligner = photo_aligner(aligned, detector, face, embedder.image_size)
    result = embedder.embed_files(paths, reader=aligner)
    if not len(result.index):
        path, reason = result.skipped[0]
        use = "read" if aligned else "used"
        raise ValueError(f"None of the {len(paths)} images can be {use}; {path}: {reason}")
    arrays: dict[str, Any] = {
        "embedding": result.embedding,
        "path": np.array([str(paths[i]) for i in result.index]),
    }
    if result.group_feature is not None:
        arrays |= {"group_feature": result.group_feature, "group": result.group}
    with replacing(out) as temporary:
        np.savez(temporary, **arrays)
    table(
        [
            ("Embedded", f"{len(result.index):,} images, {result.embedding.shape[1]} numbers each"),
            ("Skipped", f"{len(result.skipped):,}"),
            ("File", out),
        ]
    )
    for path, reason in result.skipped[:10]:
        say(f"skipped {path}: {reason}")
    write_json(
        json,
        {
            "images": len(result.index),
            "embedding_dim": result.embedding.shape[1],
            "skipped": len(result.skipped),
            "skipped_files": [[str(path), reason] for path, reason in result.skipped],
            "path": out,
        },
    )


def images_of(sources: list[Path]) -> list[Path]:
    """The files given, and the images in the folders given, in natural order."""
    from gfkeras.data.images import IMAGE_SUFFIXES
    from gfkeras.files import natural_key

    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = [p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
            if not found:
                raise ValueError(f"No images in the folder {str(source)!r}")
            paths += sorted(found, key=lambda path: natural_key(str(path)))
        else:
            paths.append(source)
    return paths
