"""The commands of `gfkeras` by name."""

from __future__ import annotations

from collections.abc import Callable

import typer

from gfkeras.cli import artefacts, data, demo, evaluate, experiments, photos, plot, training, zoo
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
        # Without a command, show the help and exit with 0.
        typer.echo(context.get_help())


_COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": data.prepare_command,
    "train": training.train_command,
    "evaluate": evaluate.command,
    "export": artefacts.export_command,
    "verify": artefacts.verify_command,
    "embed": photos.embed_command,
    "compare": photos.compare_command,
    "enroll": photos.enroll_command,
    "search": photos.search_command,
    "cluster": photos.cluster_command,
    "invert": experiments.invert_command,
    "clean": training.clean_command,
    "bench": artefacts.bench_command,
    "ablate": experiments.ablate_command,
    "groups": experiments.groups_command,
    "demo": demo.command,
}
_GROUPS = {"data": data.app, "gallery": photos.gallery_app, "plot": plot.app, "zoo": zoo.app}
for name, command in _COMMANDS.items():
    app.command(name)(command)
for name, group in _GROUPS.items():
    app.add_typer(group, name=name)
