"""Running a grid: each training once per seed, shared with other processes, then the table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from gfkeras.evaluation import AllPairs, PairList
from gfkeras.experiments.ablation import result as results
from gfkeras.experiments.ablation.faces import PairFaces, TrainingFaces
from gfkeras.experiments.ablation.grid import Grid
from gfkeras.experiments.ablation.result import AblationResult, RowResult
from gfkeras.experiments.ablation.row import Row
from gfkeras.experiments.ablation.run import Run
from gfkeras.files import write_text

RUNS = "trainings"
# Seconds between two attempts to take a lock that another process holds.
_PATIENCE = 1.0

Pairs = PairList | AllPairs
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
    pairs: Pairs | None = None,
    profiles: PairList | None = None,
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] | None = None,
    verbose: str | int = 0,
    progress: Progress | None = None,
) -> AblationResult:
    """Trains and scores the rows of a grid with each seed. Finished work is not repeated.

    `out` holds `trainings/` with a folder for each training and seed. The folder's name is a hash
    of recipe and data, so only changed trainings run again. `out` also holds `grid.toml` and, after
    each training, `table.md`, `table.csv` and `results.json` of all finished trainings. Several
    processes may share `out`. Each takes work that no other process does, and waits for the others
    at the end. If a process dies, another one takes over its work.

    Args:
        grid: the rows.
        faces: the training data.
        out: the folder.
        pairs: the pairs to score on, of other people. By default, pairs of the people that the
            recipe holds out.
        profiles: the frontal-profile pairs of CFP, whose accuracy becomes another column. LFW's
            pairs are too easy to tell good models apart.
        seeds: the seeds to train with. By default, the seeds of the grid.
        rows: the rows to train, in the form of `Grid.select`. All by default. The table always
            shows all rows.
        verbose: passed to `keras.Model.fit` for each training.
        progress: called with (current work, trainings done, all trainings).

    Raises:
        ValueError: if the pairs show images that are trained on, or fit no row. An error of a
            single training does not stop the others. It is listed in the result's `failures`.

    Example:
        faces = TrainingFaces("lfw", "peopleDevTrain.txt")
        result = ablate(Grid.read("lfw"), faces, "runs/lfw", pairs=read_pairs("pairs.txt", "lfw"))
    """
    out = Path(out)
    chosen = grid.rows if rows is None else grid.select(rows)
    resize = any(row.recipe.data.resize for row in chosen)
    tests = [PairFaces(_pairs(grid, faces, pairs), resize)]
    if profiles is not None:
        tests.append(PairFaces(profiles, resize))
    # Everything above can fail for wrong arguments, so nothing has been written yet.
    ablation = _Ablation(grid, faces, tests, out)
    jobs = ablation.jobs(chosen, grid.seeds if seeds is None else seeds)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "grid.toml", grid.text)
    return ablation.run(jobs, verbose, progress or (lambda what, done, total: None))


def _pairs(
    grid: Grid, faces: TrainingFaces, pairs: PairList | AllPairs | None
) -> PairList | AllPairs:
    """Returns the pairs to score on, after checking that no row trains on their images."""
    # Rows that select the same people need only one check.
    recipes = [row.recipe for row in grid.rows]
    selections = {(r.data.min_images, r.data.holdout_identities): r for r in recipes}
    if pairs is None:
        if len(selections) > 1:
            raise ValueError(
                "`pairs` must be given if rows differ in the people they hold out. "
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
    """A grid with its data and its folder."""

    def __init__(self, grid: Grid, faces: TrainingFaces, tests: list[PairFaces], out: Path):
        self.grid, self.faces, self.tests, self.out = grid, faces, tests, out
        self.trained = 0
        self.names = {row.number: row.training(faces.fingerprint(row.recipe)) for row in grid.rows}

    def jobs(self, rows: Sequence[Row], seeds: Sequence[int]) -> list[_Job]:
        """Returns one job for each training and seed.

        Seeds of one training follow each other, because they compile the same graph. All rows of
        the grid that share a training are scored on it, because scoring is cheap.
        """
        jobs: dict[Path, _Job] = {}
        for row in rows:
            sharing = [r for r in self.grid.rows if self.names[r.number] == self.names[row.number]]
            for seed in dict.fromkeys(seeds):
                recipe = row.recipe.model_copy(update={"seed": seed})
                run = Run(self._folder(row, seed), recipe)
                # Rows that share a training have the same folder and become one job.
                jobs.setdefault(run.folder, _Job(run, seed, sharing))
        return list(jobs.values())

    def run(self, jobs: list[_Job], verbose: str | int, progress: Progress) -> AblationResult:
        """Does all jobs, and waits for the jobs of other processes."""
        # Keep going over the jobs: a job whose lock another process holds is tried again later.
        pending, total = jobs, len(jobs)
        while pending:
            busy: list[_Job] = []
            for place, job in enumerate(pending):
                try:
                    # Do not wait for a job that another process holds. Take the next one.
                    with job.run.lock().acquire(timeout=0):
                        left = len(pending) - place + len(busy)
                        progress(f"{job.rows[0].name}, seed {job.seed}", total - left, total)
                        changed = self._do(job, verbose)
                except filelock.Timeout:
                    busy.append(job)
                    continue
                if changed:
                    self._write()
            # All jobs left belong to other processes. Wait for one of them, then look at all again.
            if len(busy) == len(pending):
                progress("waiting for another process", total - len(busy), total)
                with busy[0].run.lock().acquire(poll_interval=_PATIENCE):
                    pass
            pending = busy
        progress("done", total, total)
        return self._write()

    def _do(self, job: _Job, verbose: str | int) -> bool:
        """Trains and scores what is missing. Returns whether anything was missing."""
        scorings = list(dict.fromkeys(row.scoring for row in job.rows))
        run = job.run
        if all(run.scored(each, test.fingerprint) for each in scorings for test in self.tests):
            return False
        # Forget the failure of an earlier attempt, which may have been fixed.
        run.failure = None
        try:
            if not run.finished:
                self.trained += 1
                run.train(self.faces.of(run.recipe), verbose)
            for test in self.tests:
                run.score(scorings, test)
        # A row that diverges, or a recipe that does not fit the data, must not stop the others.
        except ValueError as error:
            run.failure = " ".join(str(error).split())
        return True

    def _write(self) -> AblationResult:
        """Writes and returns the table of everything in the folder."""
        # The lock makes the last writer the one that has seen the results of all others.
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
                found = [run.scored(row.scoring, test.fingerprint) for test in self.tests]
                known = [score for score in found if score is not None]
                if len(known) == len(self.tests):
                    scores[seed] = known[0] | {"training": run.training()}
                    if len(known) > 1:
                        scores[seed][results.CFP] = known[1]["accuracy"]
                elif run.failure is not None:
                    failures.append((row.name, seed, run.failure))
            rows.append(RowResult(row, self.names[row.number], scores))
        return AblationResult(self.grid.title, self.grid.reference, rows, failures, self.trained)

    def _folder(self, row: Row, seed: int) -> Path:
        return self.out / RUNS / f"{self.names[row.number]}-seed{seed}"

    def _seeds(self, row: Row) -> list[int]:
        """Returns the seeds of a row's trainings in the folder, including those of other calls."""
        name = self.names[row.number]
        paths = (self.out / RUNS).glob(f"{name}-seed*")
        found = (re.fullmatch(rf"{name}-seed(\d+)", path.name) for path in paths)
        return sorted(int(match[1]) for match in found if match)
