"""`gfkeras train` and `clean`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import columns, fit_verbosity, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.experiments.cleaning import CleaningResult
    from gfkeras.training import TrainingResult


DataOption = Annotated[
    Path, Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
]
ListedImagesOption = Annotated[
    Path | None,
    Option(
        help="Text file with the images to use from a folder per person: one line PERSON/FILE, or "
        "PATH, tab, person, for each. By default, all images."
    ),
]


def train_command(
    recipe: Annotated[
        str, Argument(metavar="RECIPE", help="A TOML file, or the name of a built-in recipe.")
    ],
    data: DataOption,
    out: Annotated[
        Path,
        Option(callback=options.writable, help="Folder for the run: models, logs and summary."),
    ],
    settings: options.Settings = None,
    identities: options.Identities = None,
    images: ListedImagesOption = None,
    resume: bool = Option(False, "--resume", help="Continue from the last checkpoint in --out."),
    stage: str | None = Option(
        None, help="Train only this stage of the recipe. By default, all stages in order."
    ),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Train a model with a recipe."""
    from gfkeras.tasks.train import train

    result = train(
        recipe, data, out, settings=settings or (), identities=identities, images=images,
        resume=resume, stage=stage, verbose=fit_verbosity(quiet),
        on_stage=lambda name, number, count: say(f"Stage {number} of {count}: {name}"),
    )  # fmt: skip
    print_training(result)
    write_json(json, result.to_json())


def print_training(result: TrainingResult, title: str = "") -> None:
    """Prints the results of a run and its notes."""
    table(result.summary(), title)
    for note in result.notes:
        say(note)


_SHOWN = 10


def clean_command(
    source: Annotated[
        str,
        Argument(
            metavar="RECIPE_OR_RUN",
            help="A recipe with ArcFace or SubCenterArcFace (a TOML file or the name of a built-in "
            "recipe), or the folder of a run with SubCenterArcFace.",
        ),
    ],
    data: DataOption,
    out: Annotated[
        Path,
        Option(
            callback=options.writable, help="Folder for runs, report and cleaned list of images."
        ),
    ],
    angle: str = Option(
        "75",
        help="Drop images at this angle in degrees or more. auto: find the angle between the two "
        "peaks of the distribution, or use 75 if there is only one.",
    ),
    sub_centers: int | None = Option(
        None, help="Centers per identity. By default, as in the recipe, or 3."
    ),
    retrain: bool = Option(
        False, "--retrain", help="Then train on the remaining images with one center."
    ),
    settings: options.Settings = None,
    identities: options.Identities = None,
    images: ListedImagesOption = None,
    resume: bool = Option(False, "--resume", help="Continue an unfinished run in --out."),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Find images with a wrong name in training data.

    Trains with several centers per person, finds each person's dominant center and drops the
    images far from it. Writes dropped.csv (with the angle and the most similar person), contact
    sheets and a cleaned list of images for `gfkeras train`. No photo is changed or deleted.
    """
    from gfkeras.tasks.clean import clean

    with stages(quiet) as progress:
        result = clean(
            source, data, out, angle=_degrees(angle), sub_centers=sub_centers, retrain=retrain,
            settings=settings or (), identities=identities, images=images, resume=resume,
            verbose=fit_verbosity(quiet), progress=progress,
        )  # fmt: skip
    _print_clean(result)
    if result.retrained is not None:
        print_training(
            result.retrained, f"Retrained on the remaining images: {result.retrained.out}"
        )
    else:
        # Records are cleaned into new records, a folder of images into a list.
        how = f"--data {result.manifest}"
        if result.manifest.is_file():
            how = f"--data {data} --images {result.manifest}"
        say(f"Train on it: gfkeras train RECIPE {how} --out DIR")
    write_json(json, result.to_json())


def _degrees(angle: str) -> float | str:
    try:
        return float(angle)
    except ValueError:
        return angle


def _print_clean(result: CleaningResult) -> None:
    table(result.summary())
    worst = sorted(result.classes(), key=lambda row: -row["dropped"])[:_SHOWN]
    rows = [
        (row["identity"], row["images"], row["dropped"], f"{row['dominant_share']:.0%}")
        for row in worst
        if row["dropped"]
    ]
    if rows:
        columns(("Person", "images", "dropped", "dominant share"), rows)
    if result.emptied:
        say(
            f"All images of {len(result.emptied)} people were dropped: "
            f"{', '.join(result.emptied[:5])}"
        )
    for note in result.notes:
        say(note)
