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


app.command("prepare")(prepare.command)
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("export")(export.command)
app.command("verify")(verify.command)
app.command("embed")(embed.command)
app.command("compare")(compare.command)
app.command("enroll")(enroll.command)
app.command("search")(search.command)
app.command("cluster")(cluster.command)
app.command("invert")(invert.command)
app.command("clean")(clean.command)
app.command("bench")(bench.command)
app.command("ablate")(ablate.command)
app.command("demo")(demo.command)
app.add_typer(data.app, name="data")
app.add_typer(gallery.app, name="gallery")
app.add_typer(plot.app, name="plot")
app.add_typer(zoo.app, name="zoo")
