"""`gfkeras prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import say, table, write_json
from gfkeras.cli.progress import stages


def command(
    source: Annotated[
        str,
        Argument(
            metavar="SRC",
            help="A folder with a folder per person, a CSV/TSV list, train.rec, a .bin set, LFW "
            "pairs, an IJB, YouTube Faces or MegaFace folder, or tfds:NAME.",
        ),
    ],
    out: Annotated[
        Path, Argument(metavar="DST", help="Folder for the records; new, or to go on with.")
    ],
    align: Annotated[
        bool, Option("--align", help="Detect faces in photos and align them.")
    ] = False,
    detector: Annotated[
        Path | None, Option(help="YuNet's file; downloaded once by default.")
    ] = None,
    face: Annotated[
        str, Option(help="Which face of a photo: largest, central or all.")
    ] = "largest",
    size: Annotated[str, Option(help="Height x width: 112x112 or 112x96.")] = "112x112",
    format: Annotated[  # noqa: A002
        str | None, Option(help="Of the source; seen from what lies there by default.")
    ] = None,
    source_options: Annotated[
        list[str] | None,
        Option("--source", metavar="KEY=VALUE", help="For the source: root=DIR, refined=1."),
    ] = None,
    min_images: Annotated[
        int, Option(min=1, help="Leave out people with fewer usable images.")
    ] = 1,
    max_images: Annotated[
        int | None, Option(min=1, help="Keep only so many images of a person.")
    ] = None,
    holdout: Annotated[int, Option(min=0, help="Hold out so many people, the last ones.")] = 0,
    shard_size: Annotated[int, Option(min=1, help="Records in a shard.")] = 8192,
    quality: Annotated[int, Option(min=1, max=100, help="Of JPEGs that are encoded anew.")] = 95,
    shuffle: Annotated[bool, Option(help="Random order in the shards, or the source's.")] = True,
    seed: Annotated[int, Option(min=0, help="Of that order.")] = 0,
    keep_duplicates: Annotated[
        bool | None, Option(help="Keep equal images; by default only where the source has pairs.")
    ] = None,
    workers: Annotated[
        int | None, Option(min=1, help="Processes; as many as processors by default.")
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Turn photos or a public data set into training records.

    A run that was interrupted or killed goes on where it stopped when the same command is
    given again.
    """
    from gfkeras.tasks.prepare import prepare

    with stages(quiet) as progress:
        result = prepare(
            source, out, format=format, source_options=_settings(source_options or []),
            align=align, detector=detector, face=face, size=_size(size), min_images=min_images,
            max_images=max_images, holdout=holdout, shard_size=shard_size, quality=quality,
            shuffle=shuffle, seed=seed, keep_duplicates=keep_duplicates, workers=workers,
            progress=progress,
        )  # fmt: skip
    table(result.summary())
    if result.fitted:
        say(
            f"{result.fitted:,} images were not {size} and were scaled to fit, as if they were "
            "aligned already. For photos give --align: misaligned faces cost accuracy."
        )
    write_json(json, result.to_json())


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise ValueError(f"`size` must be 112x112 or 112x96. Received: size={text!r}")
    return int(height), int(width)


def _settings(settings: list[str]) -> dict[str, Any]:
    """KEY=VALUE as arguments: true, false and whole numbers as such, all else as text."""
    arguments: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"`source` settings must look like key=value. Received: {setting!r}")
        words = {"true": True, "false": False}
        arguments[key] = words.get(value.lower(), int(value) if value.isdigit() else value)
    return arguments
