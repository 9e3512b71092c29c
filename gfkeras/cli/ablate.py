"""`gfkeras ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import columns, fit_verbosity, say, write_json

if TYPE_CHECKING:
    from gfkeras.experiments.ablation import AblationResult, Grid


def command(
    grid: Annotated[
        str, Argument(metavar="GRID", help="A TOML file, or the name of a built-in grid.")
    ],
    data: Annotated[
        Path | None, Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
    ] = None,
    out: Annotated[Path | None, Option(help="Folder of the trainings and the table.")] = None,
    identities: Annotated[
        Path | None, Option(help="Text file with the people to train on, one name a line.")
    ] = None,
    pairs: Annotated[
        str | None,
        Option(
            help="What to score on: a list of pairs, all, or a number to draw at random. Without "
            "it, people that the recipe holds out."
        ),
    ] = None,
    pairs_data: Annotated[
        Path | None, Option(help="The images of --pairs; those of --data by default.")
    ] = None,
    pairs_identities: Annotated[
        Path | None, Option(help="With --pairs all or a number: text file with the people to take.")
    ] = None,
    seeds: Annotated[
        str | None, Option(metavar="N,N,…", help="Seeds; those of the grid by default.")
    ] = None,
    rows: Annotated[
        list[str] | None, Option(metavar="ROW", help="Only these, by name or number: --rows 1,4-6.")
    ] = None,
    settings: options.Settings = None,
    plan: Annotated[
        bool, Option("--plan", help="List the rows and their trainings; train nothing.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Train the rows of a grid with several seeds, and write the table.

    Rows that differ only in how they are scored share one training. A run that was cut goes on
    when the same command is given again; several of them, with other --seeds or --rows or the
    same, may share one --out.
    """
    from gfkeras.tasks.ablate import ablate, read_grid

    numbers = _numbers(seeds)
    if plan:
        _plan(read_grid(grid, settings or ()))
        return
    if data is None or out is None:
        missing = "data" if data is None else "out"
        raise ValueError(f"`{missing}` must be given, unless --plan is. Received: none")
    result = ablate(
        grid, data, out, identities=identities, pairs=pairs, pairs_data=pairs_data,
        pairs_identities=pairs_identities, seeds=numbers, rows=rows, settings=settings or (),
        verbose=fit_verbosity(quiet),
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


def _numbers(seeds: str | None) -> list[int] | None:
    if seeds is None:
        return None
    parts = seeds.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise ValueError(
            f"`seeds` must be integers of at least 0, such as 0,1,2. Received: {seeds!r}"
        )
    return [int(part) for part in parts]


def _plan(grid: Grid) -> None:
    trainings: dict[str, str] = {}
    lines = []
    for row in grid.rows:
        same = trainings.setdefault(row.training(""), row.name)
        lines.append([str(row.number), row.section, row.name, "" if same == row.name else same])
    columns(["#", "section", "row", "as trained for"], lines)
    say(f"{len(trainings)} trainings × {len(grid.seeds)} seeds")
