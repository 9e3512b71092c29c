"""Opening the gallery that a command names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.inference import Embedder, Gallery

GalleryArgument = Annotated[
    str,
    typer.Argument(
        metavar="GALLERY", help="A file; one ending in .db for Milvus Lite; or a Milvus URL."
    ),
]
TokenOption = Annotated[
    str | None, typer.Option(envvar="GFKERAS_MILVUS_TOKEN", help="Of a Milvus cluster.")
]


def open_gallery(location: str, token: str | None, embedder: Embedder | None = None) -> Gallery:
    """A gallery that must be there, made with the same model.

    Raises:
        ValueError: where it is not there, damaged, or made with another model.
    """
    from gfkeras.inference import Gallery

    if "://" not in location and not Path(location).exists():
        raise ValueError(
            f"`gallery` must be there; `gfkeras enroll` makes it. Received: {location}"
        )
    gallery = Gallery(location, token=token)
    if embedder is not None:
        gallery.require_model(embedder.fingerprint)
    return gallery
