"""What the commands print, and the files of `--json`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results here as JSON.")
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A preset, a model folder, a SavedModel, a .tflite or a .onnx file."
    ),
]
# The model in the box; a test holds it against `gfkeras.zoo.registry`.
DEFAULT_MODEL = "h_groupface_mobilefacenet"
ModelOption = Annotated[
    str,
    typer.Option(metavar="MODEL", help="A preset, a model folder or an artefact."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads of the runtime; its own choice by default.")
]


def say(text: str = "") -> None:
    """One line on stdout."""
    typer.echo(text)


def table(rows: Iterable[tuple[str, Any]], title: str = "") -> None:
    """Prints labels and values in two columns."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title or None, title_justify="left", show_header=False, box=None)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, text(value))
    Console(highlight=False, markup=False).print(grid)


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table with headings; all columns but the first to the right."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for position, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if position else "left")
    for row in rows:
        grid.add_row(*row)
    Console(highlight=False, markup=False).print(grid)


def text(value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value)


def write_json(path: Path | None, results: dict[str, Any]) -> None:
    """Writes results as JSON, whole or not at all; nothing where `path` is None."""
    if path is not None:
        from gfkeras import files

        files.write_json(path, results)


def fit_verbosity(quiet: bool) -> int:
    """Keras' `verbose`: a moving bar for a terminal, a line an epoch for a file."""
    if quiet:
        return 0
    return 1 if sys.stdout.isatty() else 2
