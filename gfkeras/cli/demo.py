"""`gfkeras demo`: the main job from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import fit_verbosity, say, table


def command(
    data: Annotated[
        Path | None,
        Option(help="Folder with one folder of faces per person; synthetic by default."),
    ] = None,
    out: Annotated[Path, Option(help="Folder for everything it makes.")] = Path("runs/demo"),
    holdout: int | None = Option(
        None, min=2, help="How many people, the last in natural order, are held out."
    ),
    recipe: str = Option("demo", help="A TOML file, or a built-in recipe."),
    settings: options.Settings = None,
    people: int = Option(320, min=4, help="Synthetic people."),
    faces: int = Option(8, min=2, help="Synthetic faces of each person."),
    strength: float = Option(
        0.6, min=0, max=1, help="How much pose, light, occlusion and camera change synthetic faces."
    ),
) -> None:
    """Train, evaluate, export, verify and report in one go.

    With --data a quarter of the people is held out, and the epochs are chosen so that about as
    many images are seen as in the recipe on synthetic faces; --holdout, --set
    data.holdout_identities and --set training.epochs say otherwise.
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
            ("Verification accuracy, trained", f"{results['accuracy']:.2%}"),
            ("the same network, untrained", f"{results['untrained']['accuracy']:.2%}"),
            ("Balanced accuracy", f"{results['balanced_accuracy']:.2%}"),
            ("Pairs of people never trained on", f"{results['pairs']:,}"),
            *((f"Verified {e['name']}", e["summary"]) for e in results["exports"]),
            ("Seconds", f"{results['seconds']:.0f}"),
            ("Report", found.report),
            ("Figures", found.json),
        ]
    )
    if found.broken:
        raise ValueError(f"Over the tolerance: {', '.join(found.broken)}")
