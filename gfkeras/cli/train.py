"""`gfkeras train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._faces import IdentitiesOption, ImagesOption, open_faces
from gfkeras.cli._output import JsonOption, fit_verbosity, write_json
from gfkeras.cli._training_table import print_training


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
    identities: IdentitiesOption = None,
    images: ImagesOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: JsonOption = None,
) -> None:
    """Train a model as a recipe says."""
    load_keras()
    from gfkeras.training import Recipe, train

    checked = Recipe.read(recipe, settings or [])
    faces = open_faces(data, identities, images, checked.data.min_images)
    result = train(checked, faces, out, resume=resume, verbose=fit_verbosity(quiet))
    print_training(result)
    write_json(json, result.to_json())
