"""Ablations: training the rows of a grid with several seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.backend import load_keras
from gfkeras.errors import require
from gfkeras.evaluation.cfp import read_cfp
from gfkeras.files import PathLike
from gfkeras.tasks.protocol_data import named_pairs
from gfkeras.tasks.reporting import Progress

if TYPE_CHECKING:
    from gfkeras.experiments.ablation import AblationResult, Grid


def read_grid(grid: PathLike, settings: Sequence[str] = (), axes: Sequence[str] = ()) -> Grid:
    """Reads a grid for `ablate` from a TOML file or by the name of a built-in grid.

    `settings` change the recipe of the grid, such as "training.epochs=3". `axes` give the values of
    an axis, such as "data.amount=2600,26000". An axis that is given twice has the values of both.

    Example:
        [row.name for row in read_grid("paper").rows]
    """
    load_keras()
    from gfkeras.experiments.ablation import Grid
    from gfkeras.training.recipe import split_setting

    values: dict[str, list[Any]] = {}
    for axis in axes:
        key, equals, text = axis.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"`axis` (--axis) must look like key=value,value. Received: {axis!r}")
        _, listed = split_setting(f"{key}=[{text}]")
        if not isinstance(listed, list):
            # As in --set, strings need no quotes.
            listed = [split_setting(f"{key}={part.strip()}")[1] for part in text.split(",")]
        values.setdefault(key.strip(), []).extend(listed)
    return Grid.read(grid, list(settings), values)


def ablate(
    grid: PathLike | Grid,
    data: PathLike,
    out: PathLike,
    *,
    identities: PathLike | None = None,
    pairs: str | int | None = None,
    pairs_data: PathLike | None = None,
    pairs_identities: PathLike | None = None,
    cfp: PathLike | None = None,
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    verbose: str | int = 0,
    progress: Progress | None = None,
) -> AblationResult:
    """Trains the rows of a grid with several seeds, and writes a table of results.

    Rows that differ only in scoring share one training run. If it is interrupted, call it again
    with the same arguments: it continues where it stopped. Several processes can share one `out`.

    Args:
        grid: a TOML file, the name of a built-in grid, or the result of `read_grid`.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: folder for the runs, `table.md`, `table.csv` and `results.json`. A grid that varies
            `data.amount` also gets the plot `data_amount.png`.
        identities: text file with the people to train on. By default, all people.
        pairs: test pairs: a pairs file, "all", or a number of random pairs. By default, pairs of
            the people that the recipe holds out.
        pairs_data: folder of the images of `pairs`. By default, `data`.
        pairs_identities: with pairs "all" or a number: text file with the people to use.
        cfp: folder of CFP's aligned images, with or beside its lists. Each row is also measured on
            the frontal-profile pairs.
        seeds: random seeds to train with. By default, those of the grid.
        rows: rows to train, by name or number, such as "1,4-6". By default, all rows.
        settings: changes of the grid's recipe. Not used if `grid` is the result of `read_grid`.
        verbose: 0, 1 or 2, as for `keras.Model.fit`.
        progress: called with (current step, runs done, number of runs).

    Returns:
        An `AblationResult`. Its `failures` lists the runs that failed.

    Raises:
        ValueError: if the grid, data or pairs are missing or do not fit together.

    Example:
        ablate("lfw", "lfw", "runs/lfw", identities="peopleDevTrain.txt", pairs="pairs.txt")
    """
    # Without `pairs` these arguments would be ignored silently.
    if pairs is None and (pairs_data or pairs_identities):
        given = "pairs_data" if pairs_data else "pairs_identities"
        raise ValueError(f"`{given}` requires `pairs` (--pairs). Received: pairs=None")
    read = read_grid(grid, settings) if isinstance(grid, (str, os.PathLike)) else grid
    from gfkeras.experiments import ablation
    from gfkeras.experiments.ablation.data_amount import compares_amounts, draw_amounts

    plots = compares_amounts(read)
    if plots:
        # Without matplotlib, fail now and not after hours of training.
        require("matplotlib", "plots")
    listed = None
    if pairs is not None:
        people = None if pairs_identities is None else Path(pairs_identities)
        listed = named_pairs(pairs, Path(pairs_data or data), people, 0, "pairs_identities")
    result = ablation.ablate(
        read, ablation.TrainingFaces(data, identities), Path(out), pairs=listed,
        profiles=None if cfp is None else read_cfp(Path(cfp), "FP"), seeds=seeds, rows=rows,
        verbose=verbose, progress=progress,
    )  # fmt: skip
    if plots:
        draw_amounts(result, Path(out))
    return result
