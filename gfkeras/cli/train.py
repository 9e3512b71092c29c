"""`gfkeras train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._faces import DataOption, IdentitiesOption, ImagesOption, open_faces
from gfkeras.cli._options import QuietOption, SettingsOption
from gfkeras.cli._output import JsonOption, fit_verbosity, write_json
from gfkeras.cli._training_table import print_training


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a built-in recipe.")
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run: models, logs, summary.")],
    settings: SettingsOption = None,
    identities: IdentitiesOption = None,
    images: ImagesOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    quiet: QuietOption = False,
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
