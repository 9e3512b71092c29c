"""Embeddings of the faces in photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.alignment import FaceAligner
from gfkeras.files import PathLike, replacing
from gfkeras.inference import Embedder, FileEmbeddings
from gfkeras.tasks.alignment import face_reader, make_alignment
from gfkeras.tasks.photo_files import images_of, unusable
from gfkeras.tasks.reporting import Progress, skipped_json, stage_progress
from gfkeras.zoo import DEFAULT_PRESET


@dataclass(frozen=True, eq=False)
class EmbeddedPhotos:
    """The embeddings of M photos, and the .npz file that was written, if any."""

    photos: list[Path]
    # (M, D) float32, L2-normalised.
    embedding: np.ndarray
    # (M, 256) float32 and (M,) int32; None for a model without groups.
    group_feature: np.ndarray | None
    group: np.ndarray | None
    # (file, reason) of photos that cannot be read or show no face, then of what else lies there.
    skipped: list[tuple[Path, str]]
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras embed --json`."""
        return {
            "images": len(self.photos),
            "embedding_dim": self.embedding.shape[1],
            **skipped_json(self.skipped),
            "path": None if self.path is None else str(self.path),
        }


def embed(
    sources: PathLike | Sequence[PathLike],
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
    """Embeds the faces of photos, one of each.

    Args:
        sources: photos, or folders of them (`gfkeras.data.walk` says what is taken).
        out: the .npz file to write, with `embedding`, `path` and, of a model with groups,
            `group_feature` and `group`; None writes nothing.
        model: a preset, a model folder or an artefact.
        aligned, detector, face, flip, threads: as of `gfkeras.tasks.compare.compare`.
        batch_size: images embedded at once; by default what is fast for the runtime.
        progress: called with ("Embedding", images done, images) after each batch.

    Raises:
        ValueError: where no image can be used, for a model that cannot be read, and an `out` that
            does not end in .npz.

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
    found = embed_faces(embedder, paths, alignment(embedder.image_size), moved)
    if not len(found.index):
        raise unusable(len(paths), "images", "read" if aligned else "used", *found.skipped[0])
    photos = [paths[i] for i in found.index]
    arrays = {"embedding": found.embedding, "path": np.array([str(photo) for photo in photos])}
    if found.group_feature is not None and found.group is not None:
        arrays |= {"group_feature": found.group_feature, "group": found.group}
    if out is not None:
        with replacing(out) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
    path = None if out is None else Path(out)
    return EmbeddedPhotos(
        photos, found.embedding, found.group_feature, found.group,
        [*found.skipped, *given.left_out], path,
    )  # fmt: skip


def embed_faces(
    embedder: Embedder,
    paths: Sequence[Path],
    aligner: FaceAligner | None,
    progress: Callable[[int, int], None] | None = None,
) -> FileEmbeddings:
    """Embeds one face of each file; the images are aligned already where `aligner` is None."""
    read = face_reader(aligner, embedder.image_size)
    return embedder.embed_loaded(paths, lambda position: read(paths[position]), progress)
