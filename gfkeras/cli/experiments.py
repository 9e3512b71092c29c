"""`gfkeras ablate`, `groups` and `invert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, fit_verbosity, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.experiments.ablation import AblationResult, Grid


def ablate_command(
    grid: str = Argument(metavar="GRID", help="A TOML file, or the name of a built-in grid."),
    data: Annotated[
        Path | None, Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
    ] = None,
    out: Annotated[
        Path | None, Option(callback=options.writable, help="Folder for the runs and the table.")
    ] = None,
    identities: options.Identities = None,
    pairs: str | None = Option(
        None,
        help="Test pairs: a list of pairs, all, or a number of random pairs. By default, pairs of "
        "the people that the recipe holds out.",
    ),
    pairs_data: Annotated[
        Path | None, Option(help="Folder of the images of --pairs. By default, --data.")
    ] = None,
    pairs_identities: options.PairPeople = None,
    cfp: Annotated[
        Path | None, Option(help="CFP's aligned images: also measure its frontal-profile pairs.")
    ] = None,
    seeds: str | None = Option(
        None, metavar="N,N,…", help="Random seeds to train with. By default, those of the grid."
    ),
    rows: Annotated[
        list[str] | None,
        Option(metavar="ROW", help="Rows to train, by name or number: --rows 1,4-6."),
    ] = None,
    settings: options.Settings = None,
    axis: Annotated[
        list[str] | None,
        Option(
            metavar="KEY=V,V,…",
            help="Values of an axis, instead of those of the grid: --axis data.amount=2600,26000.",
        ),
    ] = None,
    plan: bool = Option(False, "--plan", help="List the rows and their runs without training."),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Train the rows of a grid and write a table of results.

    Each row is trained with several seeds. Rows that differ only in scoring share one training
    run. If the command is interrupted, give it again: it continues where it stopped. Several
    commands can share one --out, with the same or other --seeds and --rows.
    """
    from gfkeras.tasks.ablate import ablate, read_grid

    numbers = options.numbers("seeds", seeds, 0)
    # The grid is read before --data and --out are required: an error in it matters more.
    read = read_grid(grid, settings or (), axis or ())
    if plan:
        _plan(read)
        return
    if data is None or out is None:
        missing = "data" if data is None else "out"
        raise ValueError(f"`{missing}` is required without --plan. Received: none")
    result = ablate(
        read, data, out, identities=identities, pairs=pairs, pairs_data=pairs_data,
        pairs_identities=pairs_identities, cfp=cfp, seeds=numbers, rows=rows,
        verbose=fit_verbosity(quiet),
        progress=None if quiet else lambda what, done, total: say(f"[{done}/{total}] {what}"),
    )  # fmt: skip
    _print(result, out)
    write_json(json, result.to_json() | {"trained": result.trained})
    if result.failures:
        name, seed, reason = result.failures[0]
        raise ValueError(
            f"{len(result.failures)} rows failed. The first is {name!r} with seed {seed}: {reason}"
        )


def _print(result: AblationResult, out: Path) -> None:
    from gfkeras.experiments.ablation.data_amount import AMOUNT_PLOT
    from gfkeras.experiments.ablation.result import cells, headings

    # The whole table is too wide for a terminal. The files that are named below have it.
    names, lines = headings(result), [cells(result, row) for row in result.rows]
    compared = [place for place, name in enumerate(names) if name == f"to {result.reference}"]
    shown = (0, *(place for end in compared for place in (end - 1, end)), -1)
    columns([names[i] for i in shown], [[line[i] for i in shown] for line in lines])
    say(f"Table: {out / 'table.md'}, {out / 'table.csv'}")
    if (plot := out / AMOUNT_PLOT).is_file():
        say(f"Plot: {plot}")


def _plan(grid: Grid) -> None:
    trainings: dict[str, str] = {}
    lines = []
    for row in grid.rows:
        same = trainings.setdefault(row.training(""), row.name)
        lines.append([str(row.number), row.section, row.name, "" if same == row.name else same])
    columns(["#", "section", "row", "shares the run of"], lines)
    say(f"{len(trainings)} runs × {len(grid.seeds)} seeds")


def groups_command(
    model: Annotated[
        str, Argument(metavar="MODEL", help="A preset, a model folder or a .keras file.")
    ],
    data: Annotated[
        Path, Option(help="Aligned faces of people not trained on, one folder per person.")
    ],
    identities: options.Identities = None,
    resize: options.Resize = False,
    bootstrap: int = Option(200, min=2, help="Draws of people for the standard errors."),
    calibrate: Annotated[
        Path | None,
        Option(
            metavar="OUT",
            callback=options.writable,
            help="Choose α in v + α·v^G on these people, and write the model with it.",
        ),
    ] = None,
    seed: int = Option(0, min=0, help="Random seed for the shuffled groups."),
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Measure whether a model's groups are used, and whether they help.

    Compares all pairs of faces with the groups as the model chooses them, averaged, forced to one,
    shuffled, and left out.
    """
    from gfkeras.tasks import groups as task

    if calibrate is not None:
        with stages(quiet) as progress:
            chosen = task.calibrate(
                model, data, calibrate, identities=identities, resize=resize, bootstrap=bootstrap,
                progress=progress,
            )  # fmt: skip
        write_json(json, chosen.to_json())
        columns(*chosen.table())
        say(f"Model: {calibrate}")
        return
    with stages(quiet) as progress:
        found = task.groups(
            model, data, identities=identities, resize=resize, bootstrap=bootstrap, seed=seed,
            progress=progress,
        )  # fmt: skip
    write_json(json, found.to_json())
    columns(*found.table())
    table(found.summary())


def invert_command(
    model: Annotated[
        str, Argument(metavar="MODEL", help="The model to attack: a preset or a model folder.")
    ],
    out: Annotated[
        Path, Option(callback=options.writable, help="Folder for the images and report.json.")
    ],
    photo: Annotated[
        list[Path] | None, Option(help="Target: the face in this photo. Repeatable.")
    ] = None,
    data: Annotated[
        Path | None, Option(help="Folder of aligned faces, one folder per person.")
    ] = None,
    identity: Annotated[
        list[str] | None,
        Option(
            metavar="NAME", help="Target: the mean embedding of this person of --data. Repeatable."
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        Option(metavar="FILE", help="Targets: the embeddings of a `gfkeras embed` file (.npz)."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Target: the center of this class. Repeatable."),
    ] = None,
    run: Annotated[
        Path | None,
        Option(
            help="With --classes: training run whose head has the class centers. By default, the "
            "mean embeddings of the people of --data are the centers."
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        Option(metavar="MODEL", help="Another model to compare the faces with. Repeatable."),
    ] = None,
    steps: int | None = Option(None, min=1, help="Adam steps per batch. By default, 500."),
    finer_rate: float | None = Option(
        None,
        help="Factor on the learning rate at each finer image size. By default, 0.25. For "
        "well-trained networks, 1 gives more lifelike images.",
    ),
    batch: int = Option(16, min=1, help="Images optimised together. They share batch statistics."),
    copies: int = Option(1, min=1, help="Images per target, each from other noise."),
    seed: int = Option(0, min=0, help="Random seed for the noise."),
    every: int | None = Option(
        None, min=1, help="Also write intermediate images, after each so many steps."
    ),
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Generate faces from a model's embeddings or class centers.

    The attack uses only the model. --photo, --identity and --embeddings attack it open-set,
    --classes close-set. The generated faces are biometric data of the people they show: see
    docs/inversion.md.
    """
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
        ("Network", "Cosine", "Spread", "Lowest", "To others"),
        [
            (name, *(f"{value:.3f}" for value in likeness.summary().values()))
            for name, likeness in found.likeness.items()
        ],
    )
    say(f"{len(found.files)} images in {out}, {found.seconds:.0f} s")
    if also and not found.has_faces:
        say("--also was not used: it needs photos of the targets (--photo or --data).")
