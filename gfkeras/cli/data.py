"""`gfkeras prepare` and `data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import list_skipped, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.data.statistics import Suspects


def prepare_command(
    source: Annotated[
        str,
        Argument(
            metavar="SRC",
            help="A folder with one folder per person, a CSV or TSV list, train.rec, a .bin file, "
            "LFW pairs, a folder of IJB, YouTube Faces, MegaFace or CelebA, or tfds:NAME.",
        ),
    ],
    out: Annotated[
        Path,
        Argument(
            metavar="DST",
            callback=options.writable,
            help="Folder for the records: new, or of an unfinished run.",
        ),
    ],
    align: bool = Option(False, "--align", help="Detect faces in photos and align them."),
    resize: options.Resize = False,
    detector: options.PhotoDetector = None,
    face: str = Option("largest", help="Face to take from a photo: largest, central or all."),
    size: str = Option("112x112", help="Height x width in pixels: 112x112 or 112x96."),
    format: str | None = Option(  # noqa: A002
        None, help="Format of the source. By default, it is recognised from its files."
    ),
    source_options: Annotated[
        list[str] | None,
        Option(
            "--source",
            metavar="KEY=VALUE",
            help="Setting of the source format, such as root=DIR or refined=1.",
        ),
    ] = None,
    min_images: int = Option(1, min=1, help="Leave out people with fewer usable images."),
    max_images: int | None = Option(None, min=1, help="Largest number of images per person."),
    holdout: int = Option(
        0, min=0, help="Number of people to hold out of training: the last in order."
    ),
    shard_size: int = Option(8192, min=1, help="Records per shard."),
    quality: int = Option(95, min=1, max=100, help="JPEG quality of images that are re-encoded."),
    shuffle: bool = Option(True, help="Shuffle the records, or keep the order of the source."),
    seed: int = Option(0, min=0, help="Random seed for the shuffling."),
    keep_duplicates: bool | None = Option(
        None, help="Keep identical images. By default, only if the source has pairs."
    ),
    workers: int | None = Option(
        None, min=1, help="Number of processes. By default, the number of processors."
    ),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Turn photos or a public data set into training records.

    If the run is interrupted, give the same command again: it continues where it stopped.
    """
    from gfkeras.tasks.prepare import prepare

    with stages(quiet) as progress:
        result = prepare(
            source, out, format=format, source_options=_settings(source_options or []),
            align=align, resize=resize, detector=detector, face=face, size=_size(size),
            min_images=min_images, max_images=max_images, holdout=holdout, shard_size=shard_size,
            quality=quality, shuffle=shuffle, seed=seed, keep_duplicates=keep_duplicates,
            workers=workers, progress=progress,
        )  # fmt: skip
    table(result.summary())
    list_skipped(result.skipped_files, counted=False)
    if result.fitted:
        say(
            f"--resize scaled {result.fitted:,} images that were not {size}. "
            "If they are photos, use --align instead: misaligned faces cost accuracy."
        )
    write_json(json, result.to_json())


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise ValueError(f"`size` must be 112x112 or 112x96. Received: size={text!r}")
    return int(height), int(width)


def _settings(settings: list[str]) -> dict[str, Any]:
    """Returns KEY=VALUE settings as arguments: booleans, whole numbers or text."""
    arguments: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"`source` settings must look like key=value. Received: {setting!r}")
        words = {"true": True, "false": False}
        arguments[key] = words.get(value.lower(), int(value) if value.isdigit() else value)
    return arguments


app = typer.Typer(
    help="Download, inspect, extract and check data sets.",
    no_args_is_help=False,
)


@app.command("fetch")
def fetch_command(
    name: str | None = Argument(None, metavar="NAME", help="lfw, olivetti or yunet."),
    out: Annotated[
        Path | None,
        Option(
            callback=options.writable, help="Folder to create. By default, a folder in the cache."
        ),
    ] = None,
    json: options.Json = None,
) -> None:
    """Download a public data set, or list the available ones.

    Writes a folder with one folder per person, for `gfkeras prepare`. An interrupted download
    continues where it stopped.
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
        Path,
        Argument(metavar="DIR", help="Records, or any source that `gfkeras prepare` can read."),
    ],
    split: str = Option("train", help="For records: train or heldout."),
    sheet: Annotated[
        Path | None, Option(metavar="FILE", help="Contact sheet to write (.png).")
    ] = None,
    people: int = Option(10, min=1, help="People on the contact sheet, one per row."),
    seed: int = Option(0, help="Random seed for the people and images on the contact sheet."),
    embeddings: Annotated[
        Path | None,
        Option(help="File from `gfkeras embed` (.npz): also list near-duplicates and wrong names."),
    ] = None,
    duplicate_cosine: float = Option(
        0.9, help="Smallest cosine at which two images are near-duplicates."
    ),
    json: options.Json = None,
) -> None:
    """Count a data set's images and people, and list suspects."""
    from gfkeras.tasks.data import stats

    found = stats(
        folder, split=split, sheet=sheet, people=people, seed=seed, embeddings=embeddings,
        duplicate_cosine=duplicate_cosine,
    )  # fmt: skip
    table(found.summary())
    _print_histogram(found.statistics.histogram())
    list_skipped(list(found.statistics.unreadable.items()))
    if found.sheet is not None:
        say(f"contact sheet: {found.sheet}")
    if found.suspects is not None:
        _print_suspects(found.suspects)
    write_json(json, found.to_json())


@app.command("extract")
def extract_command(
    folder: Annotated[Path, Argument(metavar="RECORDS", help="Output of `gfkeras prepare`.")],
    out: Annotated[
        Path, Argument(metavar="DIR", callback=options.writable, help="New folder for the images.")
    ],
    split: str = Option("train", help="Split to extract: train or heldout."),
    json: options.Json = None,
) -> None:
    """Write the images of records as files, one folder per person."""
    from gfkeras.tasks.data import extract

    found = extract(folder, out, split=split)
    table([("Images", f"{found.images:,}"), ("Skipped", f"{len(found.skipped):,}"),
           ("Folder", out)])  # fmt: skip
    list_skipped(found.skipped)
    write_json(json, found.to_json())


@app.command("check")
def check_command(
    folder: Annotated[Path, Argument(metavar="RECORDS", help="Output of `gfkeras prepare`.")],
    json: options.Json = None,
) -> None:
    """Check every file of records against its SHA-256."""
    from gfkeras.tasks.data import check

    found = check(folder)
    say(f"{folder}: all shards and indices of {' and '.join(found.splits)} are intact")
    write_json(json, found.to_json())


def _print_histogram(rows: list[tuple[int, int, int]]) -> None:
    most = max((count for _, _, count in rows), default=0)
    for low, high, count in rows:
        label = f"{low}" if low == high else f"{low}–{high}"
        # A count that is not zero always has a visible bar.
        bar = "█" * max(1, round(40 * count / most)) if count else ""
        say(f"{label:>12} images  {bar} {count:,}")


def _print_suspects(found: Suspects) -> None:
    """Prints the most suspicious pairs and images."""
    say(f"Near-duplicates: {len(found.near_duplicates):,}")
    for pair in found.near_duplicates[:10]:
        note = "" if pair.same_identity else ", with two names"
        say(f"  {pair.cosine:.3f} {pair.first} {pair.second}{note}")
    say(f"Likely mislabelled: {len(found.mislabelled):,}")
    for image in found.mislabelled[:10]:
        other = f"{image.cosine_other:.3f} to {image.looks_like}"
        say(f"  {image.name}: cosine {image.cosine:.3f} to its person, {other}")
