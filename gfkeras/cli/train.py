"""`gfkeras train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import fit_verbosity, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.training import TrainingResult

DataOption = Annotated[
    Path, Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
]
ListedImagesOption = Annotated[
    Path | None,
    Option(
        help="Text file with the images to take of a folder of people: PERSON/FILE a line, or "
        "PATH, a tab and the person. All by default."
    ),
]


def command(
    recipe: Annotated[
        str, Argument(metavar="RECIPE", help="A TOML file, or the name of a built-in recipe.")
    ],
    data: DataOption,
    out: Annotated[Path, Option(help="Folder of the run: models, logs, summary.")],
    settings: options.Settings = None,
    identities: options.Identities = None,
    images: ListedImagesOption = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = None,
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
    table(result.summary(), title)
    for note in result.notes:
        say(note)
