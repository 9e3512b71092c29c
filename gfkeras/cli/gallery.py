"""`gfkeras gallery`."""

from __future__ import annotations

from typing import Annotated

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._gallery import GalleryArgument, TokenOption, open_gallery
from gfkeras.cli._output import JsonOption, say, table, write_json

app = typer.Typer(help="Look into a gallery, and remove people from it.", no_args_is_help=True)


@app.command("list")
def list_people(
    gallery: GalleryArgument, token: TokenOption = None, json: JsonOption = None
) -> None:
    """List the people of a gallery, and of how many photos their templates are made."""
    load_keras()
    opened = open_gallery(gallery, token)
    kept = opened.templates() if len(opened) else None
    photos = {} if kept is None else dict(zip(kept.names, kept.photos.tolist(), strict=True))
    widths = opened.widths or (0, None)
    table([
        ("People", f"{len(opened):,}"),
        ("Model", opened.metadata.get("model_name") or "unknown"),
        ("Storage", f"{opened.storage}, {widths[0]} numbers, {widths[1] or 'no'} of groups"),
    ])  # fmt: skip
    for name, count in photos.items():
        say(f"{name}\t{count}")
    write_json(json, {"people": photos, "storage": opened.storage, "metadata": opened.metadata})


@app.command("remove")
def remove(
    gallery: GalleryArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Whom to remove.")],
    token: TokenOption = None,
) -> None:
    """Remove people from a gallery."""
    load_keras()
    opened = open_gallery(gallery, token)
    opened.remove(names)
    opened.save()
    say(f"Removed {len(set(names)):,} of the people; {len(opened):,} are left.")
