"""Results of an `Embedder`: embeddings of faces, of files, and of the faces in photos."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.alignment import AlignedFace, FaceAligner, NoFaceError
from gfkeras.data.images import FaceSize, face_size
from gfkeras.data.photos import list_photos, photo_name
from gfkeras.errors import wrong


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of N images.

    For a network without groups, the attributes of groups are None.

    Attributes:
        embedding: (N, D) float32, L2-normalised.
        group_feature: v̂, (N, 256) float32, not normalised.
        group: (N,) int32, the group with the largest probability.
        group_logits: (N, K) float32.
        norm: (N,) float32, length before normalising. Poor images tend to have a low norm.
        model: fingerprint of the model (`Embedder.fingerprint`), which a `Gallery` checks.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None = None
    group: np.ndarray | None = None
    group_logits: np.ndarray | None = None
    norm: np.ndarray | None = None
    model: str | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, rows: Any) -> Embeddings:
        """Returns the embeddings at positions `rows`, or where a mask is true."""
        chosen: list[Any] = [None if column is None else column[rows] for column in self._columns()]
        return dataclasses.replace(Embeddings(*chosen), model=self.model)

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Concatenates embeddings of one network."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        joined: list[Any] = [
            None if values[0] is None else np.concatenate(values) for values in columns
        ]
        return dataclasses.replace(cls(*joined), model=parts[0].model)

    def _columns(self) -> tuple[np.ndarray | None, ...]:
        return self.embedding, self.group_feature, self.group, self.group_logits, self.norm


@dataclass(frozen=True, slots=True)
class FileEmbeddings:
    """The embeddings of the M files in a list that could be read (see `Embeddings`).

    `index` (M,) int64 is the position in the list of each face's file, ascending. A file with
    several faces is repeated. `skipped` has (file, reason) of the other files.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None
    group: np.ndarray | None
    index: np.ndarray
    skipped: list[tuple[Path, str]]
    norm: np.ndarray | None = None
    model: str | None = None


_NOTHING = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class PhotoFaces:
    """The F faces found in photos.

    Attributes:
        embeddings: the embeddings of the faces, or None if there is no face.
        photo: (F,) int64, position in the list of photos, ascending.
        box: (F, 4) float32, x, y, width and height in pixels of the photo. NaN for aligned faces.
        landmarks: (F, 5, 2) float32, x and y in pixels of the photo. NaN for aligned faces.
        rotated: (F,) int64, degrees by which the photo was turned clockwise to find the face.
        eye_distance: (F,) float32, distance between the eyes in pixels. A face below
            `gfkeras.data.alignment.MIN_EYE_DISTANCE` is too small. NaN for aligned faces.
        skipped: (photo, reason) of photos that cannot be read or show no face. A photo that is not
            a path is named by its position.
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
# The type of `Embedder.embed_loaded`.
EmbedLoaded = Callable[[Sequence[Any], Load, Progress | None], FileEmbeddings]


def embed_photos(
    embed: EmbedLoaded,
    photos: Any,
    aligner: FaceAligner,
    progress: Progress | None = None,
) -> PhotoFaces:
    """Implements `Embedder.embed_photos`. `embed` is `Embedder.embed_loaded`."""
    photos = list_photos(photos)
    names = names_of(photos)
    found: dict[int, list[AlignedFace]] = {}

    def load(position: int) -> np.ndarray:
        faces = aligner.faces(photos[position])
        if not faces:
            raise NoFaceError(photo_name(photos[position]), "no face found")
        # Only the positions are kept, because a hundred thousand aligned faces take 3.7 GB.
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
    """Returns the names of photos in results: the path, or the position if it is not a path."""
    return [Path(p) if isinstance(p, str | os.PathLike) else n for n, p in enumerate(photos)]


def aligner_for(size: FaceSize, aligner: FaceAligner | None) -> FaceAligner:
    """Returns the given aligner after checking its size, or a new one of the model's size."""
    if aligner is None:
        return FaceAligner(size=size)
    height, width = face_size(size)
    if aligner.size != (height, width):
        received = f"aligner.size={aligner.size}"
        raise wrong("aligner", f"give faces of the model's image size, {height}×{width}", received)
    return aligner


def from_aligned(found: FileEmbeddings) -> PhotoFaces:
    """Returns the result for files with aligned faces. Positions in a photo are NaN."""
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
