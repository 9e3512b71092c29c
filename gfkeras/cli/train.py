"""`gfkeras train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, fit_verbosity, say, table, write_json


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a built-in recipe.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="Records that `gfkeras prepare` wrote, or one folder per person."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: models, logs, summary.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.epochs=3."),
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(help="Text file with the people to take, one name a line; all by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: JsonOption = None,
) -> None:
    """Train a model as a recipe says."""
    load_keras()
    from gfkeras.data import FaceFolder, RecordSet
    from gfkeras.data.folder import read_names
    from gfkeras.data.records.manifest import MANIFEST_FILE
    from gfkeras.training import Recipe, train

    checked = Recipe.read(recipe, settings or [])
    faces: FaceFolder | RecordSet
    if (data / MANIFEST_FILE).is_file():
        records = RecordSet(data)
        faces = records if identities is None else records.select(read_names(identities))
    else:
        faces = FaceFolder(data, identities, min_images=checked.data.min_images)
    result = train(checked, faces, out, resume=resume, verbose=fit_verbosity(quiet))
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
            f"{result.skipped:,}, see {out / 'skipped.csv'}" if result.skipped else 0,
        ),
        ("Parameters", f"{result.parameters:,}"),
        ("Trained on", result.devices),
        ("Images a second", result.images_per_second),
        ("Seconds", result.seconds),
        ("Model", result.last),
    ]
    table([(label, value) for label, value in rows if value is not None])
    for note in result.notes:
        say(note)
    write_json(json, result.to_json())
