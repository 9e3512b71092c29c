"""The faces of many photos: where they are, and their embeddings."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.alignment import AlignedFace, FaceAligner, NoFaceError
from gfkeras.data.photos import list_photos, photo_name
from gfkeras.inference.embeddings import Embeddings, FileEmbeddings

_NOTHING = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class PhotoFaces:
    """The F faces found in photos.

    Attributes:
        embeddings: of the faces; None where F is 0.
        photo: (F,) int64, position in the list of photos, ascending.
        box: (F, 4) float32, x, y, width and height in the photo; NaN for aligned faces.
        landmarks: (F, 5, 2) float32, likewise.
        rotated: (F,) int64, by how many degrees clockwise the photo was turned to find the face.
        eye_distance: (F,) float32, pixels between the eyes; below
            `gfkeras.data.alignment.MIN_EYE_DISTANCE` a face is too small. NaN for aligned faces.
        skipped: (photo, reason) of photos that cannot be read or show no face; one that was not
            given as a path is named by its position.
    """

    embeddings: Embeddings | None
    photo: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    rotated: np.ndarray
    eye_distance: np.ndarray
    skipped: list[tuple[Any, str]]

    def __len__(self) -> int:
        return len(self.photo)


Progress = Callable[[int, int], None]
Load = Callable[[int], np.ndarray]
# `Embedder.embed_loaded`.
EmbedLoaded = Callable[[Sequence[Any], Load, Progress | None], FileEmbeddings]


def embed_photos(
    embed: EmbedLoaded,
    photos: Any,
    aligner: FaceAligner,
    progress: Progress | None = None,
) -> PhotoFaces:
    """`Embedder.embed_photos`; `embed` embeds what a function loads."""
    photos = list_photos(photos)
    names = names_of(photos)
    found: dict[int, list[AlignedFace]] = {}

    def load(position: int) -> np.ndarray:
        faces = aligner.faces(photos[position])
        if not faces:
            raise NoFaceError(photo_name(photos[position]), "no face found")
        # Only where they are is kept: a hundred thousand aligned faces take 3.7 GB.
        found[position] = [replace(face, image=_NOTHING) for face in faces]
        return np.stack([face.image for face in faces])

    embedded = embed(names, load, progress)
    faces = [face for position in sorted(found) for face in found[position]]
    unknown = np.full(4, np.nan, np.float32)
    return PhotoFaces(
        _embeddings(embedded),
        embedded.index,
        np.array([unknown if f.box is None else f.box for f in faces], np.float32).reshape(-1, 4),
        np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
        np.array([face.rotated for face in faces], np.int64),
        np.array([face.eye_distance for face in faces], np.float32),
        embedded.skipped,
    )


def names_of(photos: Sequence[Any]) -> list[Any]:
    """What results call photos: the path, or the position of one given in another form."""
    return [Path(p) if isinstance(p, str | os.PathLike) else n for n, p in enumerate(photos)]


def aligner_for(size: int, aligner: FaceAligner | None) -> FaceAligner:
    """The aligner given, which must have the model's size, or one that has."""
    if aligner is None:
        return FaceAligner(size=size)
    if aligner.size != (size, size):
        raise ValueError(
            f"`aligner` must give faces of the model's size, {size}×{size}. "
            f"Received: aligner.size={aligner.size}"
        )
    return aligner


def from_aligned(found: FileEmbeddings) -> PhotoFaces:
    """The same of files that are aligned faces already: one each, without a place."""
    box = np.full((len(found.index), 4), np.nan, np.float32)
    landmarks = np.full((len(found.index), 5, 2), np.nan, np.float32)
    rotated, eyes = np.zeros(len(box), np.int64), np.full(len(box), np.nan, np.float32)
    return PhotoFaces(_embeddings(found), found.index, box, landmarks, rotated, eyes, found.skipped)


def _embeddings(found: FileEmbeddings) -> Embeddings | None:
    if not len(found.index):
        return None
    return Embeddings(
        found.embedding, found.group_feature, found.group, norm=found.norm, model=found.model
    )
