"""`gfkeras enroll`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, PhotoFaceOption, photo_aligner
from gfkeras.cli._backend import load_keras
from gfkeras.cli._gallery import GalleryArgument, TokenOption
from gfkeras.cli._output import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    ThreadsOption,
    say,
    table,
    write_json,
)
from gfkeras.cli._progress import stages

if TYPE_CHECKING:
    import numpy as np

    from gfkeras.data.alignment import FaceAligner

# Photos embedded before their people are added.
_PHOTOS = 512


def command(
    photos: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder per person, or one photo per person.")
    ],
    gallery: GalleryArgument,
    model: ModelOption = DEFAULT_MODEL,
    update: Annotated[
        bool, typer.Option("--update", help="Add photos to people who are in the gallery already.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(help="Of a new gallery: float32 (default), float16, int8 (a byte a number)."),
    ] = None,
    token: TokenOption = None,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    face: PhotoFaceOption = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    json: JsonOption = None,
) -> None:
    """Enrol people in a gallery from their photos.

    DIR/PERSON/*.jpg, any number of photos of each, or DIR/PERSON.jpg. The face of each photo is
    found, aligned and embedded; a person's template is the mean of the photos. Who is in the
    gallery already is left as is and listed, or gets the further photos with --update.
    """
    people = _people(photos)
    load_keras()
    from gfkeras.inference import Embedder, Gallery

    embedder = Embedder(model, flip=flip, num_threads=threads)
    aligner = photo_aligner(aligned, detector, face, embedder.image_size)
    metadata = {"model": embedder.fingerprint, "model_name": Path(model).name}
    kept = Gallery(gallery, storage=storage, token=token, metadata=metadata)
    kept.require_model(embedder.fingerprint)
    known = [name for name in people if not update and name in kept]
    work = {name: files for name, files in people.items() if name not in set(known)}
    several: dict[Path, int] = {}
    skipped: list[tuple[Path, str]] = []
    enrolled, used, saved = 0, 0, len(kept)
    reader = None if aligner is None else _counting(aligner, several)
    total = sum(len(files) for files in work.values())
    with stages(quiet) as move:
        done = 0
        for names, files in _portions(work):
            found = embedder.embed_files(files, reader)
            skipped += found.skipped
            if len(found.index):
                owners = [names[i] for i in found.index.tolist()]
                kept.update(owners, found)
                enrolled += len(set(owners))
                used += len(owners)
            done += len(files)
            if move is not None:
                move("Enrolling", done, total)
            # An interruption loses what came after the last save, never what was saved.
            if len(kept) - saved >= max(1000, saved // 4):
                kept.save()
                saved = len(kept)
    if used:
        kept.save()
    table([
        ("Enrolled", f"{enrolled:,} people, {used:,} photos"),
        ("Already there", f"{len(known):,} people"),
        ("Skipped", f"{len(skipped):,} photos"),
        ("Gallery", f"{gallery}: {len(kept):,} people, {kept.storage}"),
    ])  # fmt: skip
    for name in known[:5]:
        say(f"already there: {name} (--update adds photos)")
    for path, reason in skipped[:10]:
        say(f"skipped {path}: {reason}")
    for path, count in list(several.items())[:10]:
        say(f"{path} shows {count} faces; the {aligner.choose if aligner else ''} one was taken")
    write_json(json, {
        "enrolled": enrolled, "photos": used, "people": len(kept), "already_there": known,
        "skipped": len(skipped), "skipped_files": [[str(p), reason] for p, reason in skipped],
        "several_faces": {str(path): count for path, count in several.items()},
    })  # fmt: skip
    if not used and not known:
        path, reason = skipped[0]
        raise ValueError(f"None of the {total} photos can be used; {path}: {reason}")


def _people(folder: Path) -> dict[str, list[Path]]:
    """The photos of each person, in natural order."""
    from gfkeras.data.images import IMAGE_SUFFIXES
    from gfkeras.files import natural_key

    if not folder.is_dir():
        raise ValueError(f"`DIR` must be a folder of photos. Received: {str(folder)!r}")
    people: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: natural_key(str(path))):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            inside = path.relative_to(folder).parts
            name = path.stem if len(inside) == 1 else inside[0]
            people.setdefault(name, []).append(path)
    if not people:
        raise ValueError(f"`DIR` must hold photos. Received: {str(folder)!r} without any")
    return people


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


def _counting(aligner: FaceAligner, several: dict[Path, int]) -> Callable[[Path], np.ndarray]:
    """Reads the one face of a photo, and remembers photos that show more."""

    def read(path: Path) -> np.ndarray:
        found = aligner.face(path)
        if found.faces > 1:
            several[path] = found.faces
        return found.image

    return read
