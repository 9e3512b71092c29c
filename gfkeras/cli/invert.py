"""`gfkeras invert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, say, write_json
from gfkeras.cli.progress import stages


def command(
    model: Annotated[
        str, Argument(metavar="MODEL", help="A preset or a model folder: the attacked one.")
    ],
    out: Annotated[Path, Option(help="Folder of the pictures and of report.json.")],
    photo: Annotated[
        list[Path] | None, Option(help="Show the face of this photo (several times).")
    ] = None,
    data: Annotated[Path | None, Option(help="Aligned faces, one folder per person.")] = None,
    identity: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="A person of --data, by mean embedding (several times)."),
    ] = None,
    embeddings: Annotated[
        Path | None, Option(metavar="FILE", help="Embeddings that `gfkeras embed` wrote.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="A class, by its center among all (several times)."),
    ] = None,
    run: Annotated[
        Path | None,
        Option(
            help="With --classes: the training run whose head has the centers; without "
            "it they are the mean embeddings of the people of --data."
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        Option(metavar="MODEL", help="Judge by another network too (several times)."),
    ] = None,
    steps: Annotated[
        int | None, Option(min=1, help="Of Adam, for each batch; 500 by default.")
    ] = None,
    finer_rate: Annotated[
        float | None,
        Option(
            help="What multiplies the learning rate at each finer size; 0.25 by default. 1 gives "
            "more lifelike pictures of well trained networks."
        ),
    ] = None,
    batch: Annotated[
        int, Option(min=1, help="Images optimised together, which share their statistics.")
    ] = 16,
    copies: Annotated[int, Option(min=1, help="Images a target, from other noise.")] = 1,
    seed: Annotated[int, Option(min=0, help="Of the noise.")] = 0,
    every: Annotated[
        int | None, Option(min=1, help="Intermediate pictures after so many steps each.")
    ] = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Generate faces from embeddings or class centers, with nothing but the model.

    Open-set from --photo, --identity or --embeddings, close-set from --classes. What comes out
    is biometric data of the people it is of: docs/inversion.md.
    """  # fmt: skip
    from gfkeras.tasks.invert import invert

    with stages(quiet) as progress:
        found = invert(
            model, out, photos=photo or (), identities=identity or (), embeddings=embeddings,
            classes=classes or (), data=data, run=run, also=also or (), steps=steps,
            finer_rate=finer_rate, batch=batch, copies=copies, seed=seed, every=every,
            aligned=aligned, detector=detector, face=face, command=command_line(),
            progress=progress,
        )  # fmt: skip
    write_json(json, found.to_json())
    columns(
        ("Network", "Cosine", "Spread", "Least", "With others"),
        [
            (name, *(f"{value:.3f}" for value in likeness.summary().values()))
            for name, likeness in found.likeness.items()
        ],
    )
    say(f"{len(found.files)} pictures in {out}, {found.seconds:.0f} s")
    if also and not found.has_faces:
        say("No photos of the targets are known: other networks have nothing to compare with.")
