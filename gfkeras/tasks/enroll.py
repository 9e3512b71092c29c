"""Enrolment of people in a gallery."""

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

# Number of photos to embed before their people are added to the gallery.
_PHOTOS = 512


@dataclass(frozen=True, eq=False)
class Enrolment:
    """The people and photos that were added to a gallery.

    Attributes:
        gallery: the gallery.
        enrolled: number of people who were added or updated.
        photos: number of photos that were added.
        already_there: people who were already in the gallery and did not change.
        skipped: (file, reason) of photos without a usable face, then of other files.
        several_faces: photos with more than one face, and the number of faces.
        chosen: the face taken from these, "largest" or "central". None for aligned faces.
        too_small: photos whose face is too small to recognise, and the pixels between the eyes.
    """

    gallery: Gallery
    enrolled: int
    photos: int
    already_there: list[str]
    skipped: list[tuple[Path, str]]
    several_faces: dict[Path, int]
    chosen: str | None
    too_small: dict[Path, float]

    def require(self) -> None:
        """Raises ValueError if no photo was usable and nobody was enrolled before."""
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
    """Adds people to a gallery from their photos.

    Finds, aligns and embeds the face in each photo. A person's template is the mean over the
    photos. The gallery is saved from time to time: an interruption loses only the latest photos.

    Args:
        photos: folder with PERSON/PHOTO, any number of photos per person, or PERSON.jpg. Folders in
            a person's folder are skipped and listed, because they may show other people.
        gallery: a gallery file, a .db file for Milvus Lite, or the URL of a Milvus server. It is
            created if it does not exist.
        model: a preset, a model folder or an artefact.
        update: add the photos to people who are already in the gallery.
        storage: number format of a new gallery: "float32" (default), "float16" or "int8".
        token: access token of the Milvus server.
        aligned, detector, face, flip, threads: as for `gfkeras.tasks.compare.compare`.
        progress: called with ("Enrolling", photos done, number of photos).

    Returns:
        An `Enrolment`, which lists unusable photos. Its `require` raises if none was usable.

    Raises:
        ValueError: if the folder has no photos, if the gallery is damaged or was made with another
            model, or if the model cannot be read.

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
    # A gallery is bound to its model: embeddings of another one cannot be compared with it.
    metadata = {"model": embedder.fingerprint, "model_name": Path(model).name}
    kept = Gallery(gallery, storage=storage, token=token, metadata=metadata)
    kept.require_model(embedder.fingerprint)
    # Skip enrolled people before their photos are embedded, which is the slow part.
    known = [name for name in people if not update and name in kept]
    work = {name: files for name, files in people.items() if name not in set(known)}
    several: dict[Path, int] = {}
    small: dict[Path, float] = {}

    def read(path: Path) -> np.ndarray:
        if aligner is None:
            return read_image(path, embedder.image_size)
        found = aligner.face(path)
        # These photos are enrolled too, but the user may want to check them.
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
        # An interruption loses the people after the last save. A large gallery takes longer to
        # save, so it is saved less often.
        if len(kept) - saved >= max(1000, saved // 4):
            kept.save()
            saved = len(kept)
    if used:
        kept.save()
    chosen = None if aligner is None else aligner.choose
    skipped += left_out
    return Enrolment(kept, enrolled, used, known, skipped, several, chosen, small)


def _portions(people: dict[str, list[Path]]) -> Iterator[tuple[list[str], list[Path]]]:
    """Yields people and photos in portions, with all photos of a person in the same portion."""
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
