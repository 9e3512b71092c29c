"""Options of several commands that train."""

from __future__ import annotations

from typing import Annotated

import typer

SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.epochs=3."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress.")]
