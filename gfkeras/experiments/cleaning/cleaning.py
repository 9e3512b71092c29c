"""Cleaning with sub-centers: train, drop distant images, train on the rest."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceFolder, Faces, RecordSet
from gfkeras.data.walk import left_out_note
from gfkeras.errors import in_range, wrong, wrong_value
from gfkeras.evaluation.plots.style import save_figure
from gfkeras.experiments.cleaning import recipes
from gfkeras.experiments.cleaning import result as reports
from gfkeras.experiments.cleaning.plots import angle_histogram, write_sheets
from gfkeras.experiments.cleaning.result import (
    CleaningResult,
    DroppedImage,
    image_name,
    require_place,
    write_manifest,
)
from gfkeras.experiments.cleaning.sub_centers import (
    PAPER_ANGLE,
    DominantCenters,
    Measuring,
    Progress,
    automatic_angle,
)
from gfkeras.files import PathLike
from gfkeras.training import Recipe, load_classifier, train
from gfkeras.training.run_folder import RECIPE_FILE, check_folder, read_recipe
from gfkeras.training.training_data import load_faces

SUB_CENTERS_RUN, RETRAINED_RUN = "sub_centers", "retrained"
HISTOGRAM_FILE = "angles.png"
AUTOMATIC = "auto"


def clean(
    source: Recipe | PathLike,
    data: FaceFolder | RecordSet,
    out: PathLike,
    *,
    angle: float | str = PAPER_ANGLE,
    sub_centers: int | None = None,
    retrain: bool = False,
    resume: bool = False,
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> CleaningResult:
    """Finds images with a wrong label by Sub-center ArcFace, and lists the other images.

    Each identity has K centers. The dominant center is the one nearest to most of its images.
    Images at `angle` or more from it are dropped, and so are unreadable images. People held out for
    verification are not measured and stay in the manifest. `data` is not changed. The result is a
    list of files, or a folder of records that shares the shards of `data`.

    `out` gets `sub_centers/` (the run with K centers), `cleaned.txt` or `cleaned/`, `dropped.csv`,
    `classes.csv`, `report.json`, `angles.png` (the histogram of angles) and `dropped_*.jpg`. These
    sheets show each dropped image next to images of its own label and of the person that it looks
    like. With `retrain`, `out` also gets `retrained/`, trained with ArcFace on the kept images,
    with as many batches as all images would give.

    The arguments are those of `gfkeras.tasks.clean.clean`, with a recipe, its name or a run as
    source. `verbose` and `callbacks` are passed to both trainings. Raises ValueError if recipe,
    run, data or arguments do not fit, if fewer than two identities would be left, or if data in
    `out` would be lost.
    """
    out = Path(out)
    # Check everything that can be checked before a training that may take hours.
    _check_angle(angle)
    require_place(data, out)
    run, recipe, faces, heldout = _opened(source, data, out, sub_centers, resume)
    if retrain:
        check_folder(out / RETRAINED_RUN, resume, recipes.with_one_center(recipe))
    training = None
    options: dict[str, Any] = {"resume": resume, "verbose": verbose, "callbacks": callbacks}
    if run is None:
        run = out / SUB_CENTERS_RUN
        training = train(recipe, faces, run, heldout=heldout, **options)
    # Load a fresh run from its folder, too, so that both kinds of source are measured in the same
    # way.
    classifier, identities = load_classifier(run)
    measuring = Measuring(classifier, faces, progress)
    _require_same_people(run, identities, faces)
    centers = measuring.dominant()
    notes = [] if training is None else list(training.notes)
    if faces.skipped:
        notes.append(left_out_note(faces.skipped))
    if isinstance(angle, str):
        angle, why = automatic_angle(centers.angles)
        notes.append(why)
    dropped = _dropped(measuring, centers, angle, data)
    # The type matters if nothing is dropped: an empty list would become float.
    rows = np.array([image.row for image in dropped], np.int64)
    emptied = _emptied(rows, faces)
    if retrain and (out / RETRAINED_RUN).exists():
        # A resumed retraining must continue on the images that it began with.
        reports.require_same(out, dropped)
    result = CleaningResult(
        out=out,
        run=run,
        angle=float(angle),
        identities=list(faces.identities),
        labels=np.array(faces.labels),
        centers=centers,
        dropped=dropped,
        emptied=emptied,
        manifest=write_manifest(data, faces, rows, out, {"angle": angle, "run": str(run)}),
        sheets=write_sheets(out, faces, dropped, centers),
        training=training,
        notes=notes + _drawn(out, centers, angle),
    )
    reports.write(result)
    if retrain:
        once = recipes.with_one_center(recipe)
        # The manifest also has the people held out. They are not trained on and do not count here.
        once = recipes.with_same_updates(once, len(faces), len(faces) - len(dropped))
        again = train(once, _kept(data, result.manifest), out / RETRAINED_RUN, **options)
        result = dataclasses.replace(result, retrained=again)
        reports.write(result)
    return result


def _check_angle(angle: float | str) -> None:
    if isinstance(angle, str):
        if angle != AUTOMATIC:
            raise wrong_value("angle", f"be a number of degrees or {AUTOMATIC!r}", angle)
    elif in_range("angle", angle, 0, 180, " degrees") <= 0:
        raise ValueError(f"`angle` must be above 0 degrees. Received: angle={angle!r}")


def _opened(
    source: Recipe | PathLike,
    data: FaceFolder | RecordSet,
    out: Path,
    sub_centers: int | None,
    resume: bool,
) -> tuple[Path | None, Recipe, Faces | RecordSet, Faces | None]:
    """Returns the run if there is one, the recipe with sub-centers, and the faces of both."""
    run = None if isinstance(source, Recipe) else Path(source)
    if run is not None and (run / RECIPE_FILE).is_file():
        if sub_centers is not None:
            raise ValueError(
                "`sub_centers` is for training from a recipe, and a run already has its own. "
                f"Received: sub_centers={sub_centers} with the run {str(run)!r}"
            )
        recipe = read_recipe(run)
        if recipe.head.name != recipes.SUB_CENTER_HEAD:
            received = f"{str(run)!r}, whose head {recipe.head.name} has no sub-centers"
            raise wrong("source", f"be a run with the head {recipes.SUB_CENTER_HEAD}", received)
        recipe = recipes.with_sub_centers(recipe)
    else:
        run = None
        read = source if isinstance(source, Recipe) else Recipe.read(source)
        recipe = recipes.with_sub_centers(read, sub_centers)
    if recipe.training.strategy == "multi-worker" and run is None:
        raise ValueError(
            'A recipe with training.strategy = "multi-worker" must be trained by `gfkeras train` '
            f"on each machine, with the head {recipes.SUB_CENTER_HEAD}. Then clean that run"
        )
    if run is None:
        check_folder(out / SUB_CENTERS_RUN, resume, recipe)
    faces, heldout, _ = load_faces(recipe.data, data, None, recipe.seed)
    return run, recipe, faces, heldout


def _require_same_people(run: Path, identities: list[str], faces: Faces | RecordSet) -> None:
    # Labels are positions in the list of people, so the order must agree as well.
    if identities != faces.identities:
        different = sorted(set(identities) ^ set(faces.identities)) or ["their order"]
        raise ValueError(
            f"`data` must hold the {len(identities)} people that {str(run)!r} was trained on, in "
            f"their order. Received: {len(faces.identities)} people. They differ in: {different[0]}"
        )


def _dropped(
    measuring: Measuring, centers: DominantCenters, angle: float, data: FaceFolder | RecordSet
) -> list[DroppedImage]:
    """Returns images at `angle` or more from their dominant center, and unreadable images."""
    faces = measuring.faces
    # NaN, the angle of an unreadable image, is not below the cut either, so it is dropped, too.
    rows = np.flatnonzero(~(centers.angles < angle))
    rows = rows[np.argsort(-centers.angles[rows], kind="stable")]
    others, other_angles = measuring.nearest_others(rows, centers)
    return [
        DroppedImage(
            image=image_name(data, faces, row),
            identity=faces.identities[faces.labels[row]],
            angle=float(centers.angles[row]),
            looks_like=faces.identities[other] if other >= 0 else "",
            looks_like_angle=float(other_angle),
            row=row,
        )
        for row, other, other_angle in zip(rows.tolist(), others, other_angles, strict=True)
    ]


def _emptied(rows: np.ndarray, faces: Faces | RecordSet) -> list[str]:
    """Returns the identities without kept images. Raises ValueError if fewer than two are left."""
    count = len(faces.identities)
    before = np.bincount(faces.labels, minlength=count)
    after = before - np.bincount(np.asarray(faces.labels)[rows], minlength=count)
    if (after > 0).sum() < 2:
        raise ValueError(
            f"`angle` must leave at least two identities to train on. Received: an angle that "
            f"drops {len(rows)} of {len(faces)} images and leaves {(after > 0).sum()} of "
            f"{count} identities. A network that is not trained yet has large angles"
        )
    return [faces.identities[label] for label in np.flatnonzero((before > 0) & (after == 0))]


def _drawn(out: Path, centers: DominantCenters, angle: float) -> list[str]:
    """Draws the histogram of the angles. Returns a note if matplotlib is missing."""
    try:
        save_figure(angle_histogram(centers.angles, angle), out / HISTOGRAM_FILE)
    except ImportError as error:
        return [f"No {HISTOGRAM_FILE} was drawn. {error}"]
    return []


def _kept(data: FaceFolder | RecordSet, manifest: Path) -> FaceFolder | RecordSet:
    """Returns the data that the manifest keeps."""
    if isinstance(data, RecordSet):
        return RecordSet(manifest)
    return FaceFolder(data.root, None, data.min_images, manifest)
