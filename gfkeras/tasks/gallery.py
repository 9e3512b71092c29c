"""Content of a gallery: the people in it, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gfkeras.files import PathLike
from gfkeras.inference import Embedder, Gallery
from gfkeras.tasks.photo_files import require_gallery
from gfkeras.tasks.reporting import Result


@dataclass(frozen=True)
class GalleryContent:
    """The people of a gallery, and the texts kept with it, such as "model_name"."""

    # Each person's number of photos, sorted by name.
    people: dict[str, int]
    storage: str
    # Of embeddings and group features, None without groups; None for a gallery without people.
    widths: tuple[int, int | None] | None
    metadata: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras gallery list --json`."""
        return {"people": self.people, "storage": self.storage, "metadata": self.metadata}


@dataclass(frozen=True)
class Removal(Result):
    """The number of people removed from a gallery, and of those who are left in it."""

    removed: int
    left: int


def list_people(gallery: PathLike, token: str | None = None) -> GalleryContent:
    """Lists the people of a gallery, and of how many photos their templates are made.

    Args:
        gallery: a file, one ending in .db for Milvus Lite, or a Milvus URL.
        token: token of a Milvus cluster.

    Raises:
        ValueError: for a gallery that is not there or is damaged.

    Example:
        for name, photos in list_people("faces.gallery").people.items():
            print(name, photos)
    """
    opened = open_gallery(gallery, token)
    kept = opened.templates() if len(opened) else None
    people = {} if kept is None else dict(zip(kept.names, kept.photos.tolist(), strict=True))
    return GalleryContent(people, opened.storage, opened.widths, opened.metadata)


def remove_people(
    gallery: PathLike, names: str | Sequence[str], token: str | None = None
) -> Removal:
    """Removes people from a gallery; all of them or, in an error, none.

    Args:
        gallery, token: as of `list_people`.
        names: one person, or several.

    Raises:
        ValueError: for a gallery that is not there, and for somebody who is not in it.

    Example:
        remove_people("faces.gallery", ["Ann", "Bob"])
    """
    opened = open_gallery(gallery, token)
    opened.remove(names)
    opened.save()
    return Removal(len({names} if isinstance(names, str) else set(names)), len(opened))


def open_gallery(
    location: PathLike, token: str | None = None, embedder: Embedder | None = None
) -> Gallery:
    """Opens a gallery that must be there, and made with the model of `embedder`."""
    gallery = Gallery(require_gallery(location), token=token)
    if embedder is not None:
        gallery.require_model(embedder.fingerprint)
    return gallery
