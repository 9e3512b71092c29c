"""The command line's commands, one module each."""

from __future__ import annotations

import typer

from gfkeras.cli import (
    ablate,
    bench,
    clean,
    cluster,
    compare,
    data,
    demo,
    embed,
    enroll,
    evaluate,
    export,
    gallery,
    invert,
    plot,
    prepare,
    search,
    train,
    verify,
    zoo,
)
from gfkeras.version import __version__

app = typer.Typer(
    name="gfkeras",
    help="Face recognition with GroupFace in Keras 3: train, evaluate, export.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gfkeras {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for module in (
    prepare, train, evaluate, export, verify, embed, compare, enroll, search, cluster, invert,
    clean, bench, ablate, demo,
):  # fmt: skip
    app.command(module.__name__.rpartition(".")[2])(module.command)
for group in (data, gallery, plot, zoo):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
