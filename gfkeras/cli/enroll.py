"""`gfkeras enroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import list_skipped, say, table, write_json
from gfkeras.cli.progress import stages
from gfkeras.tasks.photo_files import require_folder
from gfkeras.zoo import DEFAULT_PRESET


def command(
    photos: Annotated[
        Path,
        Argument(
            metavar="DIR",
            callback=require_folder,
            help="A folder per person, or one photo per person.",
        ),
    ],
    gallery: options.Gallery,
    model: options.Model = DEFAULT_PRESET,
    update: Annotated[
        bool, Option("--update", help="Add photos to people who are in the gallery already.")
    ] = False,
    storage: Annotated[
        str | None,
        Option(help="Of a new gallery: float32 (default), float16, int8 (a byte a number)."),
    ] = None,
    token: options.Token = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Enrol people in a gallery from their photos.

    DIR/PERSON/*.jpg, any number of photos of each, or DIR/PERSON.jpg. The face of each photo is
    found, aligned and embedded; a person's template is the mean of the photos. Who is in the
    gallery already is left as is and listed, or gets the further photos with --update.
    """
    from gfkeras.tasks.enroll import enroll

    with stages(quiet) as progress:
        done = enroll(
            photos, gallery, model, update=update, storage=storage, token=token, aligned=aligned,
            detector=detector, face=face, flip=flip, threads=threads, progress=progress,
        )  # fmt: skip
    table([
        ("Enrolled", f"{done.enrolled:,} people, {done.photos:,} photos"),
        ("Already there", f"{len(done.already_there):,} people"),
        ("Skipped", f"{len(done.skipped):,} photos"),
        ("Gallery", f"{gallery}: {len(done.gallery):,} people, {done.gallery.storage}")
    ])  # fmt: skip
    for name in done.already_there[:5]:
        say(f"already there: {name} (--update adds photos)")
    list_skipped(done.skipped)
    for path, count in list(done.several_faces.items())[:10]:
        say(f"{path} shows {count} faces; the {done.chosen} one was taken")
    write_json(json, done.to_json())
    done.require()
