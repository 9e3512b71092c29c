"""Printing of results, and the files of `--json`.

Names of files and people can contain any character. This module escapes control characters: a name
cannot move the cursor, reverse the direction of text or start a new row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from gfkeras.safe_text import printable

HOW_TO_DECIDE = (
    "No decision, because there is no threshold. Measure thresholds once with `gfkeras evaluate "
    "MODEL … --thresholds FILE` and add --thresholds FILE --far 1e-3, or choose one: "
    "--threshold 0.4"
)


def say(*parts: str, error: bool = False) -> None:
    """Prints one line on stdout or stderr, with tabs between the parts."""
    typer.echo("\t".join(map(printable, parts)), err=error)


def table(rows: Iterable[tuple[str, Any]], title: str = "") -> None:
    """Prints labels and values in two columns."""
    from rich.table import Table

    title = printable(title)
    grid = Table(title=title or None, title_justify="left", show_header=False, box=None)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(printable(label), text(value))
    show(grid)


def columns(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table with headings. All columns except the first are aligned to the right."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for position, heading in enumerate(headings):
        grid.add_column(printable(heading), justify="right" if position else "left")
    for row in rows:
        grid.add_row(*map(text, row))
    show(grid)


def show(grid: Any) -> None:
    """Prints a rich table without markup or highlighting."""
    from rich.console import Console

    # Markup and emoji are off: a name such as "[red]" or ":cat:" must be printed unchanged.
    Console(highlight=False, markup=False, emoji=False).print(grid)


def text(value: Any) -> str:
    """Returns a value as printable text, with five significant digits for floats."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    return printable(str(value))


def mib(size: int | None) -> str:
    """Returns a number of bytes as text in MiB."""
    return text(None) if size is None else f"{size / 2**20:.2f} MiB"


def list_skipped(skipped: Sequence[tuple[Any, str]], most: int = 10, counted: bool = True) -> None:
    """Prints the first skipped files with their reasons, and counts the reasons of the others."""
    from gfkeras.data.walk import reason_counts, usual_last

    skipped = list(skipped)
    # Files that every folder has, such as Thumbs.db, would hide the interesting ones.
    usual_last(skipped)
    for path, reason in skipped[:most]:
        say(f"skipped {path}: {reason}")
    if counted and (more := skipped[most:]):
        counts = "; ".join(f"{count:,} × {words}" for words, count in reason_counts(more).items())
        say(f"skipped {len(more):,} more (--json lists all): {counts}")


def write_json(path: Path | None, results: dict[str, Any]) -> None:
    """Writes results as JSON, or nothing if `path` is None."""
    from gfkeras import files

    if path is not None:
        files.write_json(path, results)


def fit_verbosity(quiet: bool) -> int:
    """Returns Keras' `verbose`: a progress bar on a terminal, one line per epoch in a file."""
    if quiet:
        return 0
    return 1 if sys.stdout.isatty() else 2
