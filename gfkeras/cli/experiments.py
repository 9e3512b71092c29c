"""`gfkeras ablate` and `invert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, fit_verbosity, say, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.experiments.ablation import AblationResult, Grid


def ablate_command(
    grid: str = Argument(metavar="GRID", help="A TOML file, or the name of a built-in grid."),
    data: Annotated[
        Path | None, Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
    ] = None,
    out: Annotated[Path | None, Option(help="Folder of the trainings and the table.")] = None,
    identities: options.Identities = None,
    pairs: str | None = Option(
        None,
        help="What to score on: a list of pairs, all, or a number to draw at random. Without "
        "it, people that the recipe holds out.",
    ),
    pairs_data: Annotated[
        Path | None, Option(help="The images of --pairs; those of --data by default.")
    ] = None,
    pairs_identities: options.PairPeople = None,
    seeds: str | None = Option(None, metavar="N,N,…", help="Seeds; those of the grid by default."),
    rows: Annotated[
        list[str] | None, Option(metavar="ROW", help="Only these, by name or number: --rows 1,4-6.")
    ] = None,
    settings: options.Settings = None,
    plan: bool = Option(False, "--plan", help="List the rows and their trainings; train nothing."),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Train the rows of a grid with several seeds, and write the table.

    Rows that differ only in how they are scored share one training. A run that was cut goes on
    when the same command is given again; several of them, with other --seeds or --rows or the
    same, may share one --out.
    """
    from gfkeras.tasks.ablate import ablate, read_grid

    numbers = options.numbers("seeds", seeds, 0)
    # Before anything else is asked for: an error of the recipe says what to correct.
    read = read_grid(grid, settings or ())
    if plan:
        _plan(read)
        return
    if data is None or out is None:
        missing = "data" if data is None else "out"
        raise ValueError(f"`{missing}` must be given, unless --plan is. Received: none")
    result = ablate(
        read, data, out, identities=identities, pairs=pairs, pairs_data=pairs_data,
        pairs_identities=pairs_identities, seeds=numbers, rows=rows, verbose=fit_verbosity(quiet),
        progress=None if quiet else lambda what, done, total: say(f"[{done}/{total}] {what}"),
    )  # fmt: skip
    _print(result, out)
    write_json(json, result.to_json() | {"trained": result.trained})
    if result.failures:
        name, seed, reason = result.failures[0]
        raise ValueError(
            f"{len(result.failures)} rows failed, {name!r} with seed {seed} first: {reason}"
        )


def _print(result: AblationResult, out: Path) -> None:
    from gfkeras.experiments.ablation.result import cells, headings

    # As much of the table as a terminal is wide.
    shown = (0, 1, 2, -1)
    names, lines = headings(result), [cells(result, row) for row in result.rows]
    columns([names[i] for i in shown], [[line[i] for i in shown] for line in lines])
    say(f"Table: {out / 'table.md'}, {out / 'table.csv'}")


def _plan(grid: Grid) -> None:
    trainings: dict[str, str] = {}
    lines = []
    for row in grid.rows:
        same = trainings.setdefault(row.training(""), row.name)
        lines.append([str(row.number), row.section, row.name, "" if same == row.name else same])
    columns(["#", "section", "row", "as trained for"], lines)
    say(f"{len(trainings)} trainings × {len(grid.seeds)} seeds")


def invert_command(
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
    steps: int | None = Option(None, min=1, help="Of Adam, for each batch; 500 by default."),
    finer_rate: float | None = Option(
        None,
        help="What multiplies the learning rate at each finer size; 0.25 by default. 1 gives "
        "more lifelike pictures of well trained networks.",
    ),
    batch: int = Option(16, min=1, help="Images optimised together, which share their statistics."),
    copies: int = Option(1, min=1, help="Images a target, from other noise."),
    seed: int = Option(0, min=0, help="Of the noise."),
    every: int | None = Option(None, min=1, help="Intermediate pictures after so many steps each."),
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
