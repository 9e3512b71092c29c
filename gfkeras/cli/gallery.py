"""`gfkeras gallery`."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument

from gfkeras.cli import options
from gfkeras.cli.output import say, table, write_json

app = typer.Typer(help="Look into a gallery, and remove people from it.", no_args_is_help=True)


@app.command("list")
def list_command(
    gallery: options.ExistingGallery, token: options.Token = None, json: options.Json = None
) -> None:
    """List the people of a gallery, and of how many photos their templates are made."""
    from gfkeras.tasks.gallery import list_people

    content = list_people(gallery, token)
    width, groups = content.widths or (0, None)
    table([
        ("People", f"{len(content.people):,}"),
        ("Model", content.metadata.get("model_name") or "unknown"),
        ("Storage", f"{content.storage}, {width} numbers, {groups or 'no'} of groups")
    ])  # fmt: skip
    for name, count in content.people.items():
        say(f"{name}\t{count}")
    write_json(json, content.to_json())


@app.command("remove")
def remove_command(
    gallery: options.ExistingGallery,
    names: Annotated[list[str], Argument(metavar="NAME…", help="Whom to remove.")],
    token: options.Token = None,
) -> None:
    """Remove people from a gallery."""
    from gfkeras.tasks.gallery import remove_people

    done = remove_people(gallery, names, token)
    say(f"Removed {done.removed:,} of the people; {done.left:,} are left.")
