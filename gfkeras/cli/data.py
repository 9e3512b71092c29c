"""`gfkeras data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import list_skipped, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.data.statistics import Suspects

app = typer.Typer(
    help="Data sets: look at one, fetch public ones, take records apart.", no_args_is_help=False
)


@app.command("fetch")
def fetch_command(
    name: Annotated[str | None, Argument(metavar="NAME", help="lfw, olivetti or yunet.")] = None,
    out: Annotated[
        Path | None, Option(help="The folder to make; one in the cache by default.")
    ] = None,
    json: options.Json = None,
) -> None:
    """Download a public data set; without NAME, list what there is.

    The result is a folder with one folder per person, for `gfkeras prepare`. A download that
    was cut goes on where it stopped.
    """
    from gfkeras.data.fetching import fetchable
    from gfkeras.tasks.data import fetch

    if name is None:
        table(list(fetchable().items()))
        write_json(json, {"names": fetchable()})
        return
    fetched = fetch(name, out)
    say(str(fetched.path))
    if fetched.people is not None:
        say(f"{fetched.images:,} images of {fetched.people:,} people; {fetched.terms}")
    write_json(json, fetched.to_json())


@app.command("stats")
def stats_command(
    folder: Annotated[
        Path, Argument(metavar="DIR", help="Records, a folder per person, or any source.")
    ],
    split: Annotated[str, Option(help="Of records: train or heldout.")] = "train",
    sheet: Annotated[
        Path | None, Option(metavar="FILE", help="Draw a contact sheet here (.png).")
    ] = None,
    people: Annotated[int, Option(min=1, help="Rows of the sheet.")] = 10,
    seed: Annotated[int, Option(help="Of the people and images drawn.")] = 0,
    embeddings: Annotated[
        Path | None, Option(help="An .npz of `gfkeras embed`: look for doubles and wrong names.")
    ] = None,
    duplicate_cosine: Annotated[float, Option(help="Least cosine of near-duplicates.")] = 0.9,
    json: options.Json = None,
) -> None:
    """Count a data set, draw it, and list images that look out of place."""
    from gfkeras.tasks.data import stats

    found = stats(
        folder, split=split, sheet=sheet, people=people, seed=seed, embeddings=embeddings,
        duplicate_cosine=duplicate_cosine,
    )  # fmt: skip
    table(found.summary())
    _print_histogram(found.statistics.histogram())
    for name, reason in list(found.statistics.unreadable.items())[:10]:
        say(f"unreadable {name}: {reason}")
    if found.sheet is not None:
        say(f"contact sheet: {found.sheet}")
    if found.suspects is not None:
        _print_suspects(found.suspects)
    write_json(json, found.to_json())


@app.command("extract")
def extract_command(
    folder: Annotated[Path, Argument(metavar="RECORDS", help="What `prepare` wrote.")],
    out: Annotated[Path, Argument(metavar="DIR", help="A new folder.")],
    split: Annotated[str, Option(help="train or heldout.")] = "train",
    json: options.Json = None,
) -> None:
    """Write records as files, a folder for each person."""
    from gfkeras.tasks.data import extract

    found = extract(folder, out, split=split)
    table([("Images", f"{found.images:,}"), ("Skipped", f"{len(found.skipped):,}"),
           ("Folder", out)])  # fmt: skip
    list_skipped(found.skipped)
    write_json(json, found.to_json())


@app.command("check")
def check_command(
    folder: Annotated[Path, Argument(metavar="RECORDS", help="What `prepare` wrote.")],
    json: options.Json = None,
) -> None:
    """Compare every file of records with its SHA-256."""
    from gfkeras.tasks.data import check

    found = check(folder)
    say(f"{folder}: all shards and indices of {' and '.join(found.splits)} are whole")
    write_json(json, found.to_json())


def _print_histogram(rows: list[tuple[int, int, int]]) -> None:
    most = max((count for _, _, count in rows), default=0)
    for low, high, count in rows:
        label = f"{low}" if low == high else f"{low}–{high}"
        bar = "█" * max(1, round(40 * count / most)) if count else ""
        say(f"{label:>12} images  {bar} {count:,}")


def _print_suspects(found: Suspects) -> None:
    """Prints the most striking ones."""
    say(f"Near-duplicates: {len(found.near_duplicates):,}")
    for pair in found.near_duplicates[:10]:
        note = "" if pair.same_identity else ", under two names"
        say(f"  {pair.cosine:.3f} {pair.first} {pair.second}{note}")
    say(f"Likely mislabelled: {len(found.mislabelled):,}")
    for image in found.mislabelled[:10]:
        say(
            f"  {image.name}: {image.cosine:.3f} to its own, "
            f"{image.cosine_other:.3f} to {image.looks_like}"
        )
