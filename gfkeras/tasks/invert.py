"""Model inversion: generates, judges and saves faces from embeddings or class centers."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder, read_image
from gfkeras.data.alignment import FaceAligner
from gfkeras.data.images import FaceSize
from gfkeras.errors import wrong
from gfkeras.files import PathLike, replacing, write_json
from gfkeras.inference import Embedder
from gfkeras.tasks.alignment import make_alignment
from gfkeras.tasks.photo_files import require_photo
from gfkeras.tasks.reporting import Progress, stage_progress

if TYPE_CHECKING:
    from gfkeras.experiments.inversion.judging import Likeness
    from gfkeras.experiments.inversion.targets import Subjects

REPORT_FILE = "report.json"
COURSE_FILE = "course.png"
# Rows of the page of intermediate images. More rows make it slow to draw and too long to read.
_SHOWN = 40


@dataclass(frozen=True)
class Inversion:
    """The faces that `invert` generated.

    Attributes:
        out: folder of the results.
        files: the images.
        likeness: by network, the attacked one first: cosines of each image with its target.
        seconds: duration of the optimisation.
        has_faces: whether photos of the targets are known. Other networks need them to judge.
        report: content of `report.json`.
    """

    out: Path
    files: list[Path]
    likeness: dict[str, Likeness]
    seconds: float
    has_faces: bool
    report: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of `report.json`."""
        return self.report


@dataclass(frozen=True)
class _Choice:
    """The choice of targets. Exactly one of the first four fields is set."""

    photos: Sequence[Path]
    identities: Sequence[str]
    embeddings: Path | None
    classes: Sequence[str]
    data: Path | None
    run: Path | None


def invert(
    model: str,
    out: PathLike,
    *,
    photos: Sequence[PathLike] = (),
    identities: Sequence[str] = (),
    embeddings: Path | None = None,
    classes: Sequence[str] = (),
    data: Path | None = None,
    run: Path | None = None,
    also: Sequence[str] = (),
    steps: int | None = None,
    finer_rate: float | None = None,
    batch: int = 16,
    copies: int = 1,
    seed: int = 0,
    every: int | None = None,
    aligned: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Inversion:
    """Generates faces from embeddings or class centers, using only the model.

    `photos`, `identities` and `embeddings` attack the model open-set, `classes` close-set. The
    generated faces are biometric data of the people they show: see docs/inversion.md.

    Args:
        model: the model to attack, a preset or a model folder.
        out: folder for the images, `report.json` and `course.png`.
        photos: targets: the faces in these photos.
        identities: targets: the mean embeddings of these people of `data`.
        embeddings: targets: the embeddings of a `gfkeras embed` file (.npz).
        classes: targets: the centers of these classes.
        data: folder of aligned faces, one folder per person.
        run: training run whose head has the centers of `classes`. By default, the mean embeddings
            of the people of `data` are the centers.
        also: other models to compare the faces with.
        steps: Adam steps per batch. By default, 500.
        finer_rate: factor on the learning rate at each finer image size. By default, 0.25.
        batch: images optimised together. They share batch statistics.
        copies: images per target, each from other noise.
        seed: random seed for the noise.
        every: draw intermediate images after each so many steps. By default, five times.
        aligned: the photos are aligned faces.
        detector: YuNet file. By default, it is downloaded once.
        face: face to take from a photo, "largest" (default) or "central".
        command: the command line to write into the report.
        progress: called with ("Embedding" or "Optimising", done, total).

    Raises:
        ValueError: if choices do not fit together, or if files, people or classes are missing.

    Example:
        invert("h_groupface_mobilefacenet", "inverted", photos=["a.jpg"]).files
    """
    choice = _Choice(list(map(Path, photos)), identities, embeddings, classes, data, run)
    _check(choice)
    # Only photos need the detector.
    alignment = make_alignment(not aligned, detector, face) if photos else None
    folder = None if data is None else FaceFolder(data)
    load_keras()
    import keras

    from gfkeras.experiments import inversion
    from gfkeras.experiments.inversion.judging import judged, judged_by_faces
    from gfkeras.zoo import load

    out = Path(out)
    given: dict[str, Any] = {"steps": steps, "finer_rate": finer_rate}
    settings = inversion.InversionSettings(**{k: v for k, v in given.items() if v is not None})
    attacked = load(model)
    embedder = Embedder(attacked)
    judges = {name: Embedder(name) for name in also}
    aligner = None if alignment is None else alignment(embedder.image_size)
    # Targets are complete before the optimisation, which takes minutes.
    subjects = _subjects(choice, embedder, aligner, folder, stage_progress(progress, "Embedding"))
    owner = np.tile(np.arange(len(subjects.targets.names)), copies)
    names = _file_names(subjects.targets.names, copies)
    course = _Course(out / COURSE_FILE, names)
    optimising = stage_progress(progress, "Optimising")
    started = time.perf_counter()
    images = inversion.invert(
        attacked, subjects.targets.repeated(copies), settings, batch_size=batch, seed=seed,
        # By default, five intermediate images (rounded up).
        every=every or max(1, -(-settings.steps // 5)), on_pictures=course.add,
        progress=None if optimising is None else lambda n, total, _: optimising(n, total),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    # Judge the saved files: rounding to 8 bits changes the embeddings.
    images = _saved(out, names, images, embedder.image_size)
    own = judged(embedder, images, subjects.targets, owner)
    others = {
        name: judged_by_faces(judge, images, subjects.faces, owner)
        for name, judge in judges.items()
        if subjects.faces is not None
    }
    course.write([f"cosine {value:.3f}" for value in own.cosine])
    centers = "mean embeddings of people" if run is None else "the head of a training run"
    report = {
        "model": model,
        "form": "close-set" if subjects.targets.centers is not None else "open-set",
        "centers": centers if classes else None,
        **own.summary(),
        "other_networks": {name: likeness.summary() for name, likeness in others.items()},
        "images": [
            {
                "file": f"{names[i]}.png",
                "target": subjects.targets.names[owner[i]],
                "cosine": float(own.cosine[i]),
                "other_networks": {name: float(each.cosine[i]) for name, each in others.items()},
            }
            for i in range(len(names))
        ],
        "settings": dataclasses.asdict(settings),
        "batch": batch, "seed": seed, "seconds": seconds, "command": command,
        "backend": keras.backend.backend(),
    }  # fmt: skip
    write_json(out / REPORT_FILE, report)
    files = [out / f"{name}.png" for name in names]
    has_faces = subjects.faces is not None
    return Inversion(out, files, {model: own, **others}, seconds, has_faces, report)


def _check(choice: _Choice) -> None:
    """Raises ValueError if choices do not fit together or files are missing."""
    named = {
        "`photos` (--photo)": choice.photos, "`identities` (--identity)": choice.identities,
        "`embeddings` (--embeddings)": choice.embeddings, "`classes` (--classes)": choice.classes,
    }  # fmt: skip
    given = [name for name, value in named.items() if value]
    if len(given) != 1:
        raise ValueError(
            f"Exactly one of {', '.join(named)} must be given. "
            f"Received: {' and '.join(given) or 'none'}"
        )
    if choice.identities and choice.data is None:
        raise ValueError(
            f"{given[0]} requires `data` (--data), the folder of these people. Received: data=None"
        )
    if choice.run is not None and not choice.classes:
        raise ValueError(f"`run` (--run) requires `classes` (--classes). Received: {given[0]}")
    if choice.classes and choice.run is None and choice.data is None:
        raise ValueError(
            f"{given[0]} requires `run` (--run), whose head has the class centers, or `data` "
            "(--data), to use mean embeddings as centers. Received: neither"
        )
    for photo in choice.photos:
        require_photo(photo)
    if choice.embeddings is not None and not choice.embeddings.is_file():
        expected = "be an .npz file of `gfkeras embed`, with `embedding` (N, D)"
        raise wrong("embeddings", expected, f"{str(choice.embeddings)!r} (no such file)")


def _subjects(
    choice: _Choice,
    embedder: Embedder,
    aligner: FaceAligner | None,
    folder: FaceFolder | None,
    progress: Callable[[int, int], None] | None,
) -> Subjects:
    from gfkeras.experiments.inversion import targets as subjects

    if choice.photos:
        return subjects.of_photos(embedder, choice.photos, aligner)
    if choice.embeddings is not None:
        return subjects.of_templates(choice.embeddings)
    if choice.classes and choice.run is not None:
        centers, known = subjects.centers_of_run(choice.run)
        return subjects.of_run_classes(centers, known, choice.classes, embedder, folder)
    assert folder is not None  # _check has made sure of it.
    if choice.classes:
        return subjects.of_estimated_classes(embedder, folder, choice.classes, progress)
    return subjects.of_people(embedder, folder, choice.identities)


def _file_names(names: list[str], copies: int) -> list[str]:
    """Returns a unique file name for each image."""
    found: list[str] = []
    for copy in range(copies):
        for name in names:
            # A name can have characters that are not allowed in names of files.
            plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "face"
            stem = plain if copies == 1 else f"{plain}-{copy + 1}"
            number, unique = 2, stem
            while unique in (*found, "course"):
                unique, number = f"{stem}_{number}", number + 1
            found.append(unique)
    return found


def _saved(out: Path, names: list[str], images: np.ndarray, size: FaceSize) -> np.ndarray:
    """Writes the images and returns them as read from the files, because the files are judged."""
    files = [out / f"{name}.png" for name in names]
    for file, pixels in zip(files, images, strict=True):
        with replacing(file) as temporary:
            Image.fromarray(pixels).save(temporary)
    return np.stack([read_image(file, size) for file in files])


class _Course:
    """The page of intermediate images. It is written again when new images arrive."""

    def __init__(self, path: Path, names: list[str]):
        self.path, self.names = path, names
        self.images: dict[int, dict[int, np.ndarray]] = {}

    def add(self, step: int, places: np.ndarray, pixels: np.ndarray) -> None:
        for place, image in zip(places[:_SHOWN], pixels, strict=False):
            if place < _SHOWN:
                self.images.setdefault(int(place), {})[step] = image
        self.write([""] * len(self.names))

    def write(self, lines: list[str]) -> None:
        """Writes the page, with a line of text below each row."""
        from gfkeras.experiments.inversion.judging import course

        steps = sorted({step for images in self.images.values() for step in images})
        rows = [
            (self.names[place], lines[place], [images[s] for s in steps if s in images])
            for place, images in sorted(self.images.items())
        ]
        with replacing(self.path) as temporary:
            course(rows, steps).save(temporary)
