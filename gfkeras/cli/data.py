"""`gfkeras data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.cli._output import JsonOption, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.data import RecordSet
    from gfkeras.data.sources import Source

app = typer.Typer(
    help="Data sets: look at one, fetch public ones, take records apart.", no_args_is_help=False
)


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


@app.command("stats")
def stats_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Records, a folder per person, or any source.")
    ],
    split: Annotated[str, typer.Option(help="Of records: train or heldout.")] = "train",
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a contact sheet here (.png).")
    ] = None,
    people: Annotated[int, typer.Option(min=1, help="Rows of the sheet.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the people and images drawn.")] = 0,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="An .npz of `gfkeras embed`: look for doubles and wrong names."),
    ] = None,
    duplicate_cosine: Annotated[float, typer.Option(help="Least cosine of near-duplicates.")] = 0.9,
    json: JsonOption = None,
) -> None:
    """Count a data set, draw it, and list images that look out of place."""
    from gfkeras.data.statistics import DataStatistics

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"`sheet` must end in .png. Received: sheet={str(sheet)!r}")
    opened = _opened(folder, split)
    records, source = opened
    statistics = (
        DataStatistics.of_records(records)
        if records is not None
        else DataStatistics.of_source(source)  # type: ignore[arg-type]
    )
    results = statistics.to_json()
    spread = results["images_per_identity"]
    rows: list[tuple[str, Any]] = [
        ("Images", f"{statistics.images:,} of {statistics.identities:,} people"),
        ("Of nobody known", f"{statistics.unlabelled:,}"),
        (
            "Images a person",
            f"{spread['min']:g} to {spread['max']:g}, median {spread['median']:g}",
        ),
        ("Size", ", ".join(f"{size}: {n:,}" for size, n in list(results["sizes"].items())[:4])),
        ("Bytes an image", f"{statistics.bytes_per_image:,.0f} (median)"),
        ("Unreadable", f"{len(statistics.unreadable):,}"),
    ]
    table(rows)
    _print_histogram(statistics.histogram())
    for name, reason in list(statistics.unreadable.items())[:10]:
        say(f"unreadable {name}: {reason}")
    if sheet is not None:
        title = f"{folder.name}: {statistics.images:,} images of {statistics.identities:,} people"
        _draw_sheet(sheet, opened, title, people, seed)
        say(f"contact sheet: {sheet}")
    if embeddings is not None:
        results |= _suspects(embeddings, duplicate_cosine)
    write_json(json, results)


@app.command("extract")
def extract_command(
    folder: Annotated[Path, typer.Argument(metavar="RECORDS", help="What `prepare` wrote.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    split: Annotated[str, typer.Option(help="train or heldout.")] = "train",
    json: JsonOption = None,
) -> None:
    """Write records as files, a folder for each person."""
    from gfkeras.data import RecordSet
    from gfkeras.data.records.selection import extract

    written, skipped = extract(RecordSet(folder, split), out)
    table([("Images", f"{written:,}"), ("Skipped", f"{len(skipped):,}"), ("Folder", out)])
    for name, reason in skipped[:10]:
        say(f"skipped {name}: {reason}")
    write_json(json, {"images": written, "skipped": len(skipped), "skipped_files": skipped})


@app.command("check")
def check_command(
    folder: Annotated[Path, typer.Argument(metavar="RECORDS", help="What `prepare` wrote.")],
    json: JsonOption = None,
) -> None:
    """Compare every file of records with its SHA-256."""
    from gfkeras.data import RecordSet
    from gfkeras.data.records import Manifest

    splits = list(Manifest.read(folder).splits)
    for split in splits:
        RecordSet(folder, split).verify()
    say(f"{folder}: all shards and indices of {' and '.join(splits)} are whole")
    write_json(json, {"splits": splits, "whole": True})


def _opened(folder: Path, split: str) -> tuple[RecordSet | None, Source | None]:
    from gfkeras.data import RecordSet
    from gfkeras.data.records.manifest import MANIFEST_FILE
    from gfkeras.data.sources import open_source

    if (folder / MANIFEST_FILE).is_file():
        return RecordSet(folder, split), None
    return None, open_source(folder)


def _print_histogram(rows: list[tuple[int, int, int]]) -> None:
    most = max((count for _, _, count in rows), default=0)
    for low, high, count in rows:
        label = f"{low}" if low == high else f"{low}–{high}"
        bar = "█" * max(1, round(40 * count / most)) if count else ""
        say(f"{label:>12} images  {bar} {count:,}")


def _draw_sheet(
    path: Path,
    opened: tuple[RecordSet | None, Source | None],
    title: str,
    people: int,
    seed: int,
) -> None:
    from gfkeras.data.statistics.contact_sheet import (
        contact_sheet,
        drawn_from_records,
        drawn_from_source,
    )
    from gfkeras.files import replacing

    records, source = opened
    rows = (
        drawn_from_records(records, people, seed)
        if records is not None
        else drawn_from_source(source, people, seed)  # type: ignore[arg-type]
    )
    with replacing(path) as temporary:
        contact_sheet(rows, title).save(temporary)


def _suspects(embeddings: Path, duplicate_cosine: float) -> dict[str, Any]:
    """Prints the most striking, returns all."""
    import dataclasses

    import numpy as np

    from gfkeras.data.statistics import find_suspects

    try:
        with np.load(embeddings, allow_pickle=False) as stored:
            embedding, paths = stored["embedding"], [Path(str(path)) for path in stored["path"]]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"`embeddings` must be an .npz of `gfkeras embed`. "
            f"Received: {str(embeddings)!r} ({error})"
        ) from error
    names = ["/".join(path.parts[-2:]) for path in paths]
    found = find_suspects(embedding, names, [path.parent.name for path in paths], duplicate_cosine)
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
    return {
        "near_duplicates": [dataclasses.asdict(pair) for pair in found.near_duplicates],
        "mislabelled": [dataclasses.asdict(image) for image in found.mislabelled],
    }
