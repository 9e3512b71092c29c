"""`gfkeras demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import fit_verbosity, say, table

_OUT = Path("runs/demo")


def command(
    data: Annotated[
        Path | None,
        Option(help="Folder with one folder of faces per person. By default, synthetic faces."),
    ] = None,
    out: Annotated[Path, Option(callback=options.writable, help="Folder for all results.")] = _OUT,
    holdout: int | None = Option(
        None, min=2, help="Number of people to hold out of training: the last in natural order."
    ),
    recipe: str = Option("demo", help="A TOML file, or the name of a built-in recipe."),
    settings: options.Settings = None,
    people: int = Option(320, min=4, help="Number of synthetic people."),
    faces: int = Option(8, min=2, help="Number of synthetic faces per person."),
    strength: float = Option(
        0.6,
        min=0,
        max=1,
        help="Variation of pose, light, occlusion and camera between synthetic faces.",
    ),
) -> None:
    """Train, evaluate, export and verify a model, and write a report.

    With --data, a quarter of the people are held out, and the number of epochs is chosen to train
    on about as many images as with synthetic faces. To change this, use --holdout, --set
    data.holdout_identities and --set training.epochs.
    """
    from gfkeras.tasks.demo import demo

    found = demo(
        out, data, holdout=holdout, recipe=recipe, settings=settings or (), people=people,
        faces=faces, strength=strength, verbose=fit_verbosity(quiet=False),
        command=command_line(), progress=lambda stage, done, total: say(stage),
    )  # fmt: skip
    results = found.to_json()
    table(
        [
            ("Verification accuracy", f"{results['accuracy']:.2%}"),
            ("Untrained network", f"{results['untrained']['accuracy']:.2%}"),
            ("Balanced accuracy", f"{results['balanced_accuracy']:.2%}"),
            ("Pairs of held-out people", f"{results['pairs']:,}"),
            *((f"Verified {e['name']}", e["summary"]) for e in results["exports"]),
            ("Seconds", f"{results['seconds']:.0f}"),
            ("Report", found.report),
            ("Numbers", found.json),
        ]
    )
    if found.broken:
        raise ValueError(f"Over the tolerance: {', '.join(found.broken)}")
