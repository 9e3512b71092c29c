"""Runs of a grid: each training once per seed, shared with other processes, and the table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from gfkeras.evaluation import PairList
from gfkeras.experiments.ablation import result as results
from gfkeras.experiments.ablation.faces import PairFaces, TrainingFaces
from gfkeras.experiments.ablation.grid import Grid
from gfkeras.experiments.ablation.result import AblationResult, RowResult
from gfkeras.experiments.ablation.row import Row
from gfkeras.experiments.ablation.run import Run
from gfkeras.files import write_text

RUNS = "trainings"
# Seconds between two looks at a lock that another process holds.
_PATIENCE = 1.0

Progress = Callable[[str, int, int], None]


@dataclass
class _Job:
    """A training with one seed, and the rows that are scored on it."""

    run: Run
    seed: int
    rows: list[Row]


def ablate(
    grid: Grid,
    faces: TrainingFaces,
    out: str | os.PathLike[str],
    *,
    pairs: PairList | None = None,
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] | None = None,
    verbose: str | int = 0,
    progress: Progress | None = None,
) -> AblationResult:
    """Trains and scores the rows of a grid with each seed, as far as that is not done yet.

    `out` holds `trainings/`, a folder for each training and seed named after recipe and data, so
    that what changed is trained anew and what did not is not; `grid.toml`; and `table.md`,
    `table.csv` and `results.json`, of all that lies there, after each training. Several processes
    may share it: each takes what no other is at, waits at the end for what the others are at, and
    takes over where one of them died.

    Args:
        grid: the rows.
        faces: to train on.
        out: the folder.
        pairs: to score on, of other people; those that the recipe holds out by default.
        seeds: those of the grid by default.
        rows: what to train, as of `Grid.select`; all by default. The table shows all.
        verbose: of each training, as of `keras.Model.fit`.
        progress: called with (what is being done, trainings done, trainings).

    Raises:
        ValueError: where pairs show images that are trained on, or fit no row; errors of single
            trainings are in the result's `failures`.

    Example:
        faces = TrainingFaces("lfw", "peopleDevTrain.txt")
        result = ablate(Grid.read("lfw"), faces, "runs/lfw", pairs=read_pairs("pairs.txt", "lfw"))
    """
    out = Path(out)
    chosen = grid.rows if rows is None else grid.select(rows)
    resize = any(row.recipe.data.resize for row in chosen)
    test = PairFaces(_pairs(grid, faces, pairs), resize)
    ablation = _Ablation(grid, faces, test, out)
    jobs = ablation.jobs(chosen, grid.seeds if seeds is None else seeds)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "grid.toml", grid.text)
    return ablation.run(jobs, verbose, progress or (lambda what, done, total: None))


def _pairs(grid: Grid, faces: TrainingFaces, pairs: PairList | None) -> PairList:
    """The pairs to score on, of images that no row trains on."""
    # One recipe for each selection of people.
    recipes = [row.recipe for row in grid.rows]
    selections = {(r.data.min_images, r.data.holdout_identities): r for r in recipes}
    if pairs is None:
        if len(selections) > 1:
            raise ValueError(
                "`pairs` must be given where rows differ in the people they hold out. "
                f"Received: (min_images, holdout_identities) of {sorted(selections)}"
            )
        pairs = faces.heldout_pairs(grid.rows[0].recipe)
    files = {path.resolve() for path in pairs.files()}
    for recipe in selections.values():
        trained = files & faces.trained_files(recipe)
        if trained:
            raise ValueError(
                "`pairs` must show people who are not trained on. Received: "
                f"{len(trained)} of {len(files)} images are, such as {min(trained)}"
            )
    return pairs


class _Ablation:
    """A grid with its data, in its folder."""

    def __init__(self, grid: Grid, faces: TrainingFaces, test: PairFaces, out: Path):
        self.grid, self.faces, self.test, self.out = grid, faces, test, out
        self.trained = 0
        self.names = {row.number: row.training(faces.fingerprint(row.recipe)) for row in grid.rows}

    def jobs(self, rows: Sequence[Row], seeds: Sequence[int]) -> list[_Job]:
        """Each training once a seed; the seeds of one after another, which compile the same.

        All rows of the grid that share a training are scored on it, for that costs little.
        """
        jobs: dict[Path, _Job] = {}
        for row in rows:
            sharing = [r for r in self.grid.rows if self.names[r.number] == self.names[row.number]]
            for seed in dict.fromkeys(seeds):
                recipe = row.recipe.model_copy(update={"seed": seed})
                run = Run(self._folder(row, seed), recipe)
                jobs.setdefault(run.folder, _Job(run, seed, sharing))
        return list(jobs.values())

    def run(self, jobs: list[_Job], verbose: str | int, progress: Progress) -> AblationResult:
        """Does all jobs, and waits for those that other processes are at."""
        pending, total = jobs, len(jobs)
        while pending:
            busy: list[_Job] = []
            for place, job in enumerate(pending):
                try:
                    with job.run.lock().acquire(timeout=0):
                        left = len(pending) - place + len(busy)
                        progress(f"{job.rows[0].name}, seed {job.seed}", total - left, total)
                        changed = self._do(job, verbose)
                except filelock.Timeout:
                    busy.append(job)
                    continue
                if changed:
                    self._write()
            if len(busy) == len(pending):
                progress("waiting for another process", total - len(busy), total)
                with busy[0].run.lock().acquire(poll_interval=_PATIENCE):
                    pass
            pending = busy
        progress("done", total, total)
        return self._write()

    def _do(self, job: _Job, verbose: str | int) -> bool:
        """Trains and scores what is missing; whether anything was."""
        scorings = list(dict.fromkeys(row.scoring for row in job.rows))
        run, pairs = job.run, self.test.fingerprint
        if all(run.scored(scoring, pairs) is not None for scoring in scorings):
            return False
        run.failure = None
        try:
            if not run.finished:
                self.trained += 1
                run.train(self.faces.of(run.recipe), verbose)
            run.score(scorings, self.test)
        # A row that diverges, or a recipe that does not fit the data, must not keep the others
        # from being trained.
        except ValueError as error:
            run.failure = " ".join(str(error).split())
        return True

    def _write(self) -> AblationResult:
        """The table of everything in the folder."""
        # Whoever writes last has seen what all others finished.
        with filelock.FileLock(self.out / "table.lock"):
            result = self._collect()
            write_text(self.out / "table.md", results.markdown(result))
            write_text(self.out / "table.csv", results.csv_text(result))
            write_text(self.out / "results.json", json.dumps(result.to_json(), indent=1) + "\n")
        return result

    def _collect(self) -> AblationResult:
        rows, failures = [], []
        for row in self.grid.rows:
            scores = {}
            for seed in self._seeds(row):
                run = Run(self._folder(row, seed), row.recipe)
                score = run.scored(row.scoring, self.test.fingerprint)
                if score is not None:
                    scores[seed] = score | {"training": run.training()}
                elif run.failure is not None:
                    failures.append((row.name, seed, run.failure))
            rows.append(RowResult(row, self.names[row.number], scores))
        return AblationResult(self.grid.title, self.grid.reference, rows, failures, self.trained)

    def _folder(self, row: Row, seed: int) -> Path:
        return self.out / RUNS / f"{self.names[row.number]}-seed{seed}"

    def _seeds(self, row: Row) -> list[int]:
        """Every seed with which a row's training lies in the folder, this call's or not."""
        name = self.names[row.number]
        paths = (self.out / RUNS).glob(f"{name}-seed*")
        found = (re.fullmatch(rf"{name}-seed(\d+)", path.name) for path in paths)
        return sorted(int(match[1]) for match in found if match)
