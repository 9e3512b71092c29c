"""`gfkeras train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfkeras.cli.options import JsonOption, QuietOption, SettingsOption
from gfkeras.cli.output import fit_verbosity, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.training import TrainingResult

DataOption = Annotated[
    Path, typer.Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
]
PeopleOption = Annotated[
    Path | None,
    typer.Option(help="Text file with the people to take, one name a line; all by default."),
]
ListedImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the images to take of a folder of people: PERSON/FILE a line, or "
        "PATH, a tab and the person. All by default."
    ),
]


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a built-in recipe.")
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run: models, logs, summary.")],
    settings: SettingsOption = None,
    identities: PeopleOption = None,
    images: ListedImagesOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = None,
) -> None:
    """Train a model as a recipe says."""
    from gfkeras.tasks.train import train

    result = train(
        recipe, data, out, settings=settings or (), identities=identities, images=images,
        resume=resume, verbose=fit_verbosity(quiet),
    )  # fmt: skip
    print_training(result)
    write_json(json, result.to_json())


def print_training(result: TrainingResult, title: str = "") -> None:
    """Prints the results of a run and its notes."""
    metrics = result.metrics
    rows = [
        ("Epochs", f"{result.epochs}, best {result.best_epoch} by {result.monitor}"),
        ("Loss", metrics.get("loss")),
        ("Training accuracy", metrics.get("accuracy")),
        ("Held-out accuracy", metrics.get("val_accuracy")),
        ("Held-out AUC", metrics.get("val_auc")),
        ("Images", f"{result.images:,} of {result.identities:,} people"),
        ("Held out", f"{result.heldout_images:,} of {result.heldout_identities:,} people"),
        (
            "Skipped",
            f"{result.skipped:,}, see {result.out / 'skipped.csv'}" if result.skipped else 0,
        ),
        ("Parameters", f"{result.parameters:,}"),
        ("Trained on", result.devices),
        ("Images a second", result.images_per_second),
        ("Seconds", result.seconds),
        ("Model", result.last),
    ]
    table([(label, value) for label, value in rows if value is not None], title)
    for note in result.notes:
        say(note)
