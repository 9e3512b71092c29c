"""Embeddings of the faces in photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.alignment import AlignedFace, FaceAligner
from gfkeras.data.photos import Photo, photo_name
from gfkeras.files import PathLike, replacing
from gfkeras.inference import Embedder, FileEmbeddings
from gfkeras.tasks.alignment import face_reader, make_alignment
from gfkeras.tasks.photo_files import images_of, unusable
from gfkeras.tasks.reporting import Progress, skipped_json, stage_progress
from gfkeras.zoo import DEFAULT_PRESET


@dataclass(frozen=True, eq=False)
class EmbeddedPhotos:
    """The embeddings of M photos.

    Attributes:
        photos: the photos that have an embedding.
        embedding: (M, D) float32, L2-normalised.
        group_feature: (M, 256) float32, or None for a model without groups.
        group: (M,) int32, or None for a model without groups.
        skipped: (file, reason) of photos without a usable face, then of other files.
        path: the .npz file, if it was written.
        faces: the face of each photo without its image. Empty for aligned faces.
    """

    photos: list[Any]
    embedding: np.ndarray
    group_feature: np.ndarray | None
    group: np.ndarray | None
    skipped: list[tuple[Any, str]]
    path: Path | None = None
    faces: list[AlignedFace] = field(default_factory=list)

    @property
    def too_small(self) -> dict[str, float]:
        """The photos whose face is too small to recognise, with the pixels between the eyes."""
        found = zip(self.photos, self.faces, strict=False)
        return {photo_name(p): round(f.eye_distance, 1) for p, f in found if f.too_small}

    @property
    def rotated(self) -> dict[str, int]:
        """The photos that were rotated to find their face, with the degrees clockwise."""
        found = zip(self.photos, self.faces, strict=False)
        return {photo_name(p): f.rotated for p, f in found if f.rotated}

    @property
    def notes(self) -> list[str]:
        """A line for each photo that was rotated or has an unsure face."""
        found = zip(self.photos, self.faces, strict=False)
        unsure = [f"{photo_name(p)}: {f.problem}" for p, f in found if f.problem]
        turned = [f"{name}: rotated by {degrees}°" for name, degrees in self.rotated.items()]
        return unsure + turned

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras embed --json`."""
        return {
            "images": len(self.photos),
            "embedding_dim": self.embedding.shape[1],
            **skipped_json(self.skipped),
            "too_small": self.too_small,
            "rotated": self.rotated,
            "path": None if self.path is None else str(self.path),
        }


def embed(
    sources: Photo | Sequence[Photo],
    out: PathLike | None = None,
    model: PathLike = DEFAULT_PRESET,
    *,
    aligned: bool = False,
    detector: PathLike | None = None,
    face: str | None = None,
    flip: bool = False,
    threads: int | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EmbeddedPhotos:
    """Embeds one face of each photo.

    Args:
        sources: photos in any form that `gfkeras.data.read_photo` takes, or folders of photos (see
            `gfkeras.data.walk`).
        out: .npz file to write, with `embedding` and `path` and, for a model with groups,
            `group_feature` and `group`. If None, nothing is written.
        model: a preset, a model folder or an artefact.
        aligned, detector, face, flip, threads: as for `gfkeras.tasks.compare.compare`.
        batch_size: images per batch. By default, a fast size for the runtime.
        progress: called with ("Embedding", images done, number of images) after each batch.

    Raises:
        ValueError: if no image is usable, if the model cannot be read, or if `out` does not end in
            .npz.

    Example:
        found = embed("photos")
        cosine = found.embedding[0] @ found.embedding[1]
    """
    if out is not None and Path(out).suffix.lower() != ".npz":
        raise ValueError(f"`out` must end in .npz. Received: out={str(out)!r}")
    given = images_of(sources)
    paths = given.photos
    alignment = make_alignment(not aligned, detector, face)
    embedder = Embedder(model, flip=flip, batch_size=batch_size, num_threads=threads)
    moved = stage_progress(progress, "Embedding")
    places: dict[int, AlignedFace] = {}
    found = embed_faces(embedder, paths, alignment(embedder.image_size), moved, places)
    if not len(found.index):
        raise unusable(len(paths), "images", "used", *found.skipped[0])
    photos = [paths[i] for i in found.index]
    faces = [places[i] for i in found.index.tolist() if i in places]
    # Arrays and bytes have no path, so they get a name such as "<bytes>".
    names = np.array([photo_name(photo) for photo in photos])
    arrays = {"embedding": found.embedding, "path": names}
    if found.group_feature is not None and found.group is not None:
        arrays |= {"group_feature": found.group_feature, "group": found.group}
    if out is not None:
        # The file is replaced only when it is complete.
        with replacing(out) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
    path = None if out is None else Path(out)
    skipped = [*found.skipped, *given.left_out]
    return EmbeddedPhotos(
        photos, found.embedding, found.group_feature, found.group, skipped, path, faces
    )


def embed_faces(
    embedder: Embedder,
    photos: Sequence[Any],
    aligner: FaceAligner | None,
    progress: Callable[[int, int], None] | None = None,
    places: dict[int, AlignedFace] | None = None,
) -> FileEmbeddings:
    """Embeds one face of each photo, or aligned images if `aligner` is None.

    Adds the face of each photo, without its image, to `places` under the photo's index.
    """
    read = face_reader(None, embedder.image_size)

    def load(position: int) -> np.ndarray:
        if aligner is None:
            return read(photos[position])
        face = aligner.face(photos[position])
        if places is not None:
            # Without the image: the faces of a large folder would fill the memory.
            places[position] = replace(face, image=face.image[:0])
        return face.image

    names = [photo if isinstance(photo, Path) else photo_name(photo) for photo in photos]
    return embedder.embed_loaded(names, load, progress)
