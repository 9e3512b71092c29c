"""`gfkeras invert`."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, PhotoFaceOption, photo_aligner
from gfkeras.cli._command_line import command_line
from gfkeras.cli._options import QuietOption
from gfkeras.cli._output import JsonOption, columns, say, write_json
from gfkeras.cli._progress import stages

if TYPE_CHECKING:
    import numpy as np

    from gfkeras.experiments.inversion.targets import Subjects
    from gfkeras.inference import Embedder

REPORT_FILE = "report.json"
COURSE_FILE = "course.png"
# More rows than that nobody looks at.
_SHOWN = 40


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A preset or a model folder: the attacked one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the pictures and of report.json.")],
    photo: Annotated[
        list[Path] | None, typer.Option(help="Show the face of this photo (several times).")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Aligned faces, one folder per person.")] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A person of --data, by mean embedding (several times)."),
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Embeddings that `gfkeras embed` wrote.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A class, by its center among all (several times)."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="With --classes: the training run whose head has the centers; without "
            "it they are the mean embeddings of the people of --data."
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Judge by another network too (several times)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of Adam, for each batch; 500 by default.")
    ] = None,
    finer_rate: Annotated[
        float | None,
        typer.Option(
            help="What multiplies the learning rate at each finer size; 0.25 by default. 1 gives "
            "more lifelike pictures of well trained networks."
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Images optimised together, which share their statistics.")
    ] = 16,
    copies: Annotated[int, typer.Option(min=1, help="Images a target, from other noise.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    every: Annotated[
        int | None, typer.Option(min=1, help="Intermediate pictures after so many steps each.")
    ] = None,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    face: PhotoFaceOption = None,
    quiet: QuietOption = False,
    json: JsonOption = None,
) -> None:
    """Generate faces from embeddings or class centers, with nothing but the model.

    Open-set from --photo, --identity or --embeddings, close-set from --classes. What comes out
    is biometric data of the people it is of: docs/inversion.md.
    """  # fmt: skip
    _check(photo, data, identity, embeddings, classes, run)
    load_keras()
    import keras
    import numpy as np

    from gfkeras.experiments.inversion import InversionSettings, invert
    from gfkeras.experiments.inversion.judging import judged, judged_by_faces
    from gfkeras.inference import Embedder
    from gfkeras.zoo import load

    settings = InversionSettings()
    if steps is not None:
        settings = dataclasses.replace(settings, steps=steps)
    if finer_rate is not None:
        settings = dataclasses.replace(settings, finer_rate=finer_rate)
    attacked = load(model)
    embedder = Embedder(attacked)
    judges = {name: Embedder(name) for name in also or []}
    with stages(quiet) as move:
        aligner = photo_aligner(aligned, detector, face, embedder.image_size) if photo else None
        subjects = _subjects(
            embedder, photo, aligner, data, identity, embeddings, classes, run,
            None if move is None else lambda n, total: move("Embedding", n, total),
        )  # fmt: skip
        owner = np.tile(np.arange(len(subjects.targets.names)), copies)
        names = _file_names(subjects.targets.names, copies)
        course = _Course(out / COURSE_FILE, names)
        started = time.perf_counter()
        pictures = invert(
            attacked,
            subjects.targets.repeated(copies),
            settings,
            batch_size=batch,
            seed=seed,
            every=every or max(1, -(-settings.steps // 5)),
            progress=None if move is None else lambda n, total, _: move("Optimising", n, total),
            on_pictures=course.add,
        )
        seconds = time.perf_counter() - started
    pictures = _saved(out, names, pictures, embedder.image_size)
    own = judged(embedder, pictures, subjects.targets, owner)
    others = {
        name: judged_by_faces(judge, pictures, subjects.faces, owner)
        for name, judge in judges.items()
        if subjects.faces is not None
    }
    course.finish([f"cosine {value:.3f}" for value in own.cosine])
    report = {
        "model": model,
        "form": "close-set" if subjects.targets.centers is not None else "open-set",
        "centers": _origin(classes, run),
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
        "batch": batch,
        "seed": seed,
        "seconds": seconds,
        "backend": keras.backend.backend(),
        "command": command_line(),
    }
    write_json(out / REPORT_FILE, report)
    write_json(json, report)
    rows = [(model, own), *others.items()]
    columns(
        ("Network", "Cosine", "Spread", "Least", "With others"),
        [
            (name, *(f"{value:.3f}" for value in likeness.summary().values()))
            for name, likeness in rows
        ],
    )
    say(f"{len(names)} pictures in {out}, {seconds:.0f} s")
    if judges and subjects.faces is None:
        say("No photos of the targets are known: other networks have nothing to compare with.")


def _check(
    photo: list[Path] | None,
    data: Path | None,
    identity: list[str] | None,
    embeddings: Path | None,
    classes: list[str] | None,
    run: Path | None,
) -> None:
    """Raises ValueError for options that do not go together."""
    given = [
        name
        for name, value in (
            ("--photo", photo), ("--identity", identity), ("--embeddings", embeddings),
            ("--classes", classes),
        )
        if value
    ]  # fmt: skip
    if len(given) != 1:
        raise ValueError(
            "One of --photo, --identity, --embeddings and --classes must be given. "
            f"Received: {' and '.join(given) or 'none'}"
        )
    if identity and data is None:
        raise ValueError("--identity needs --data, the folder of people. Received: none")
    if run is not None and not classes:
        raise ValueError(f"--run needs --classes. Received: {given[0]}")
    if classes and run is None and data is None:
        raise ValueError(
            "--classes needs --run, whose head has their centers, or --data, whose people's mean "
            "embeddings stand for them. Received: neither"
        )


def _subjects(
    embedder: Embedder,
    photo: list[Path] | None,
    aligner: Any,
    data: Path | None,
    identity: list[str] | None,
    embeddings: Path | None,
    classes: list[str] | None,
    run: Path | None,
    progress: Any,
) -> Subjects:
    from gfkeras.data import FaceFolder
    from gfkeras.experiments.inversion import targets as subjects

    if photo:
        return subjects.of_photos(embedder, photo, aligner)
    if embeddings is not None:
        return subjects.of_templates(embeddings)
    folder = None if data is None else FaceFolder(data)
    if classes and run is not None:
        return subjects.of_run_classes(*subjects.centers_of_run(run), classes, embedder, folder)
    assert folder is not None  # of _check
    if classes:
        return subjects.of_estimated_classes(embedder, folder, classes, progress)
    return subjects.of_people(embedder, folder, identity or [])


def _file_names(names: list[str], copies: int) -> list[str]:
    """A file name for each picture, none of them twice."""
    found: list[str] = []
    for copy in range(copies):
        for name in names:
            plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "face"
            stem = plain if copies == 1 else f"{plain}-{copy + 1}"
            number, unique = 2, stem
            while unique in found or unique in ("course",):
                unique, number = f"{stem}_{number}", number + 1
            found.append(unique)
    return found


def _origin(classes: list[str] | None, run: Path | None) -> str | None:
    if not classes:
        return None
    return "the head of a training run" if run is not None else "mean embeddings of people"


def _saved(out: Path, names: list[str], pictures: np.ndarray, size: int) -> np.ndarray:
    """Writes the pictures and reads them again: what is judged is what is in the files."""
    import numpy as np
    from PIL import Image

    from gfkeras.data import read_image
    from gfkeras.files import replacing

    for name, pixels in zip(names, pictures, strict=True):
        with replacing(out / f"{name}.png") as temporary:
            Image.fromarray(pixels).save(temporary)
    return np.stack([read_image(out / f"{name}.png", size) for name in names])


class _Course:
    """The page of intermediate pictures, written again whenever some come."""

    def __init__(self, path: Path, names: list[str]):
        self.path = path
        self.names = names
        self.images: dict[int, dict[int, np.ndarray]] = {}

    def add(self, step: int, places: np.ndarray, pixels: np.ndarray) -> None:
        for place, image in zip(places[:_SHOWN], pixels, strict=False):
            if place < _SHOWN:
                self.images.setdefault(int(place), {})[step] = image
        self._write([""] * len(self.names))

    def finish(self, lines: list[str]) -> None:
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        from gfkeras.experiments.inversion.judging import course
        from gfkeras.files import replacing

        steps = sorted({step for images in self.images.values() for step in images})
        rows = [
            (self.names[place], lines[place], [images[s] for s in steps if s in images])
            for place, images in sorted(self.images.items())
        ]
        with replacing(self.path) as temporary:
            course(rows, steps).save(temporary)
