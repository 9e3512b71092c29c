"""Every face of many photos: where it is, and its embedding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.data.alignment import AlignedFace, FaceAligner
from gfkeras.data.images import ImageError
from gfkeras.inference.embedder import Embedder
from gfkeras.inference.embeddings import Embeddings
from gfkeras.inference.file_embeddings import FileEmbeddings

# Photos whose faces are in memory at once.
_PHOTOS = 64


@dataclass(frozen=True, eq=False)
class PhotoFaces:
    """The faces found in photos.

    Attributes:
        embeddings: of F faces; None where F is 0.
        photo: (F,) int64, position in the list of photos.
        box: (F, 4) float32, x, y, width and height in the photo; NaN for aligned faces.
        landmarks: (F, 5, 2) float32, likewise.
        skipped: (photo, reason) of photos that cannot be read or show no face.
    """

    embeddings: Embeddings | None
    photo: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    skipped: list[tuple[Path, str]]

    def __len__(self) -> int:
        return len(self.photo)


def embed_photos(
    embedder: Embedder,
    paths: Sequence[str | os.PathLike[str]],
    aligner: FaceAligner,
    progress: Callable[[int, int], None] | None = None,
) -> PhotoFaces:
    """Finds, aligns and embeds the faces of photos.

    Args:
        embedder: of the model.
        paths: the photos.
        aligner: its `choose` says which faces of a photo: "all", or one.
        progress: called with (photos done, photos).

    Example:
        faces = embed_photos(Embedder(model), ["party.jpg"], FaceAligner(choose="all"))
    """
    files = [Path(path) for path in paths]
    found: list[tuple[int, AlignedFace]] = []
    parts: list[Embeddings] = []
    skipped: list[tuple[Path, str]] = []
    for start, chunk in _aligned(files, aligner):
        here = []
        for position, faces in enumerate(chunk, start):
            if isinstance(faces, ImageError):
                skipped.append((files[position], faces.reason))
            elif not faces:
                skipped.append((files[position], "no face found"))
            else:
                here += [(position, face) for face in faces]
        if here:
            parts.append(embedder(np.stack([face.image for _, face in here])))
            # Only where they are is kept: a hundred thousand aligned faces take 3.7 GB.
            found += [(position, _without_image(face)) for position, face in here]
        if progress is not None:
            progress(start + len(chunk), len(files))
    unknown = np.full(4, np.nan, np.float32)
    return PhotoFaces(
        Embeddings.joined(parts) if parts else None,
        np.array([position for position, _ in found], np.int64),
        np.array([unknown if f.box is None else f.box for _, f in found]).reshape(-1, 4),
        np.array([face.landmarks for _, face in found], np.float32).reshape(-1, 5, 2),
        skipped,
    )


def from_aligned(found: FileEmbeddings) -> PhotoFaces:
    """The same of files that are aligned faces already: one each, without a place."""
    count = len(found.index)
    embeddings = Embeddings(found.embedding, found.group_feature, found.group)
    return PhotoFaces(
        embeddings if count else None,
        found.index,
        np.full((count, 4), np.nan, np.float32),
        np.full((count, 5, 2), np.nan, np.float32),
        found.skipped,
    )


def _aligned(
    files: Sequence[Path], aligner: FaceAligner
) -> Iterator[tuple[int, list[list[AlignedFace] | ImageError]]]:
    """(position of the first, faces of each) of some photos after others."""

    def faces(path: Path) -> list[AlignedFace] | ImageError:
        try:
            return aligner.faces(path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(files), _PHOTOS):
            yield start, list(pool.map(faces, files[start : start + _PHOTOS]))


def _without_image(face: AlignedFace) -> AlignedFace:
    nothing = np.zeros((0, 0, 3), np.uint8)
    return AlignedFace(nothing, face.landmarks, face.box, face.score, face.faces)
