"""`gfkeras data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfkeras.cli._output import JsonOption, say, table, write_json

app = typer.Typer(help="Data sets: fetching public ones.", no_args_is_help=False)


@app.command("fetch")
def fetch_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="lfw, olivetti or yunet.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to make; one in the cache by default.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Download a public data set; without NAME, list what there is.

    The result is a folder with one folder per person, for `gfkeras prepare`. A download that
    was cut goes on where it stopped.
    """
    from gfkeras.data.fetching import DATA_SETS, fetch, fetchable

    if name is None:
        table(list(fetchable().items()))
        write_json(json, {"names": fetchable()})
        return
    path = fetch(name, out)
    say(str(path))
    results: dict[str, object] = {"name": name, "path": path}
    if name in DATA_SETS:
        people = [folder for folder in path.iterdir() if folder.is_dir()]
        results["people"] = len(people)
        results["images"] = sum(1 for folder in people for _ in folder.iterdir())
        results["terms"] = DATA_SETS[name].terms
        say(f"{results['images']:,} images of {results['people']:,} people; {results['terms']}")
    write_json(json, results)
