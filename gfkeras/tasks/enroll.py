"""Enrolment of people in a gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import read_image
from gfkeras.errors import one_of
from gfkeras.files import PathLike
from gfkeras.inference import Embedder, Gallery
from gfkeras.inference.gallery.column import STORAGES
from gfkeras.tasks.alignment import make_alignment
from gfkeras.tasks.photo_files import photos_of_people, unusable
from gfkeras.tasks.reporting import Progress, skipped_json
from gfkeras.zoo import DEFAULT_PRESET

# Photos embedded before their people are added.
_PHOTOS = 512


@dataclass(frozen=True, eq=False)
class Enrolment:
    """How many people and photos were added to a gallery."""

    gallery: Gallery
    enrolled: int
    photos: int
    # People who were in the gallery before and were left as they are.
    already_there: list[str]
    # (file, reason) of photos that cannot be read or show no face, then of what else lies there.
    skipped: list[tuple[Path, str]]
    # Photos that show more than one face, and how many they show.
    several_faces: dict[Path, int]
    # Which of several faces was taken, "largest" or "central"; None for aligned faces.
    chosen: str | None
    # Photos whose face has too few pixels to tell people apart, and those between its eyes.
    too_small: dict[Path, float]

    def require(self) -> None:
        """Raises ValueError where no photo could be used and nobody was there before."""
        if not self.photos and not self.already_there:
            raise unusable(len(self.skipped), "files", "used", *self.skipped[0])

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras enroll --json`."""
        return {
            "enrolled": self.enrolled,
            "photos": self.photos,
            "people": len(self.gallery),
            "already_there": self.already_there,
            **skipped_json(self.skipped),
            "several_faces": {str(path): count for path, count in self.several_faces.items()},
            "too_small": {str(path): round(pixels, 1) for path, pixels in self.too_small.items()},
        }


def enroll(
    photos: PathLike,
    gallery: PathLike,
    model: PathLike = DEFAULT_PRESET,
    *,
    update: bool = False,
    storage: str | None = None,
    token: str | None = None,
    aligned: bool = False,
    detector: PathLike | None = None,
    face: str | None = None,
    flip: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Enrolment:
    """Enrols people in a gallery from their photos.

    The face of each photo is found, aligned and embedded; a person's template is the mean of the
    photos. The gallery is saved from time to time, so that an interruption keeps what was saved.

    Args:
        photos: a folder: PERSON/PHOTO, any number of photos of each, or PERSON.jpg. Folders in a
            person's folder are left out and listed, since they may be other people's.
        gallery: a file; one ending in .db for Milvus Lite; or a Milvus URL. Made where it is not
            there.
        model: a preset, a model folder or an artefact.
        update: add photos to people who are in the gallery already.
        storage: of a new gallery: "float32" (default), "float16" or "int8", a byte a number.
        token: token of a Milvus cluster.
        aligned, detector, face, flip, threads: as of `gfkeras.tasks.compare.compare`.
        progress: called with ("Enrolling", photos done, photos).

    Returns:
        An `Enrolment`, which lists unusable photos. Its `require` raises where none could be used.

    Raises:
        ValueError: for a folder without photos, a gallery that is damaged or was made with another
            model, and a model that cannot be read.

    Example:
        enrolment = enroll("people", "faces.gallery")
        print(enrolment.enrolled, enrolment.skipped)
    """
    people, left_out = photos_of_people(photos)
    if storage is not None:
        one_of("storage", storage, STORAGES)
    alignment = make_alignment(not aligned, detector, face)
    embedder = Embedder(model, flip=flip, num_threads=threads)
    aligner = alignment(embedder.image_size)
    metadata = {"model": embedder.fingerprint, "model_name": Path(model).name}
    kept = Gallery(gallery, storage=storage, token=token, metadata=metadata)
    kept.require_model(embedder.fingerprint)
    known = [name for name in people if not update and name in kept]
    work = {name: files for name, files in people.items() if name not in set(known)}
    several: dict[Path, int] = {}
    small: dict[Path, float] = {}

    def read(path: Path) -> np.ndarray:
        if aligner is None:
            return read_image(path, embedder.image_size)
        found = aligner.face(path)
        if found.faces > 1:
            several[path] = found.faces
        if found.too_small:
            small[path] = found.eye_distance
        return found.image

    skipped: list[tuple[Path, str]] = []
    enrolled, used, done, saved = 0, 0, 0, len(kept)
    total = sum(len(files) for files in work.values())
    for names, files in _portions(work):
        found = embedder.embed_files(files, read)
        skipped += found.skipped
        if len(found.index):
            owners = [names[i] for i in found.index.tolist()]
            kept.update(owners, found)
            enrolled += len(set(owners))
            used += len(owners)
        done += len(files)
        if progress is not None:
            progress("Enrolling", done, total)
        # An interruption loses what came after the last save, never what was saved.
        if len(kept) - saved >= max(1000, saved // 4):
            kept.save()
            saved = len(kept)
    if used:
        kept.save()
    chosen = None if aligner is None else aligner.choose
    skipped += left_out
    return Enrolment(kept, enrolled, used, known, skipped, several, chosen, small)


def _portions(people: dict[str, list[Path]]) -> Iterator[tuple[list[str], list[Path]]]:
    """(person, photo) of some people after others, a person's photos together."""
    names: list[str] = []
    files: list[Path] = []
    for name, photos in people.items():
        names += [name] * len(photos)
        files += photos
        if len(files) >= _PHOTOS:
            yield names, files
            names, files = [], []
    if files:
        yield names, files
