"""Ablations: the rows of a grid, trained with several seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.backend import load_keras
from gfkeras.files import PathLike
from gfkeras.tasks.protocols import named_pairs
from gfkeras.tasks.reporting import Progress

if TYPE_CHECKING:
    from gfkeras.experiments.ablation import AblationResult, Grid


def read_grid(grid: PathLike, settings: Sequence[str] = ()) -> Grid:
    """Reads the grid of a TOML file or a built-in name, whose rows `ablate` trains.

    `settings` change its recipe, such as "training.epochs=3".

    Example:
        [row.name for row in read_grid("paper").rows]
    """
    load_keras()
    from gfkeras.experiments.ablation import Grid

    return Grid.read(grid, list(settings))


def ablate(
    grid: PathLike | Grid,
    data: PathLike,
    out: PathLike,
    *,
    identities: PathLike | None = None,
    pairs: str | int | None = None,
    pairs_data: PathLike | None = None,
    pairs_identities: PathLike | None = None,
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    verbose: str | int = 0,
    progress: Progress | None = None,
) -> AblationResult:
    """Trains the rows of a grid with several seeds, and writes the table.

    Rows that differ only in how they are scored share one training. Call it again with the same
    arguments to continue a run that was cut; several processes may share one `out`.

    Args:
        grid: a TOML file, the name of a built-in grid, or what `read_grid` returned.
        data: records that `prepare` wrote, or a folder with one folder per person.
        out: the folder of the trainings and of `table.md`, `table.csv` and `results.json`.
        identities: a text file with the people to train on; all by default.
        pairs: what to score on: a pairs file, "all", or a number to draw; by default pairs of the
            people that the recipe holds out.
        pairs_data: the images of `pairs`; those of `data` by default.
        pairs_identities: with pairs "all" or a number: a text file with the people to take.
        seeds: those of the grid by default.
        rows: names or numbers such as "1,4-6"; all by default.
        settings: changes of the grid's recipe, where `ablate` reads the grid.
        verbose: of `keras.Model.fit`: 0, 1 or 2.
        progress: called with (what is being done, trainings done, trainings).

    Returns:
        An `AblationResult`; trainings that failed are in its `failures`.

    Raises:
        ValueError: for a grid, data or pairs that are missing or do not fit.

    Example:
        ablate("lfw", "lfw", "runs/lfw", identities="peopleDevTrain.txt", pairs="pairs.txt")
    """
    if pairs is None and (pairs_data or pairs_identities):
        given = "pairs_data" if pairs_data else "pairs_identities"
        raise ValueError(f"`{given}` goes with `pairs` (--pairs). Received: no `pairs`")
    read = read_grid(grid, settings) if isinstance(grid, (str, os.PathLike)) else grid
    from gfkeras.experiments import ablation

    listed = None
    if pairs is not None:
        people = None if pairs_identities is None else Path(pairs_identities)
        listed = named_pairs(pairs, Path(pairs_data or data), people, 0, "pairs_identities")
    return ablation.ablate(
        read, ablation.TrainingFaces(data, identities), Path(out), pairs=listed, seeds=seeds,
        rows=rows, verbose=verbose, progress=progress,
    )  # fmt: skip
