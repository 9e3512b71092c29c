"""Listing and removal of people in a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gfkeras.files import PathLike
from gfkeras.inference import Embedder, Gallery
from gfkeras.tasks.photo_files import require_gallery
from gfkeras.tasks.reporting import Result


@dataclass(frozen=True)
class GalleryContent:
    """The content of a gallery.

    Attributes:
        people: number of photos of each person, sorted by name.
        storage: number format, "float32", "float16" or "int8".
        widths: dimensions of embeddings and of group features (None without groups). None for an
            empty gallery.
        metadata: texts stored with the gallery, such as "model_name".
    """

    people: dict[str, int]
    storage: str
    widths: tuple[int, int | None] | None
    metadata: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras gallery list --json`."""
        return {"people": self.people, "storage": self.storage, "metadata": self.metadata}


@dataclass(frozen=True)
class Removal(Result):
    """The number of people who were removed from a gallery, and who are left in it."""

    removed: int
    left: int


def list_people(gallery: PathLike, token: str | None = None) -> GalleryContent:
    """Lists the people of a gallery, with the number of photos of each.

    Args:
        gallery: a gallery file, a .db file for Milvus Lite, or the URL of a Milvus server.
        token: access token of the Milvus server.

    Raises:
        ValueError: if the gallery does not exist or is damaged.

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
    """Removes people from a gallery. After an error, none of them is removed.

    Args:
        gallery, token: as for `list_people`.
        names: the name of one person, or several names.

    Raises:
        ValueError: if the gallery does not exist or a person is not in it.

    Example:
        remove_people("faces.gallery", ["Ann", "Bob"])
    """
    opened = open_gallery(gallery, token)
    # `remove` raises an error for an unknown name before it changes anything.
    opened.remove(names)
    opened.save()
    return Removal(len({names} if isinstance(names, str) else set(names)), len(opened))


def open_gallery(
    location: PathLike, token: str | None = None, embedder: Embedder | None = None
) -> Gallery:
    """Opens an existing gallery, which must have been made with the model of `embedder`."""
    gallery = Gallery(require_gallery(location), token=token)
    if embedder is not None:
        gallery.require_model(embedder.fingerprint)
    return gallery
