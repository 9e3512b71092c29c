"""Running a grid: new trainings, finished trainings, and several processes."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import filelock
import keras
import numpy as np
import pytest
import tomli_w
from blocking import WITHOUT_TENSORFLOW
from processes import start_python

import gfkeras
from gfkeras.cli import main
from gfkeras.data import FaceFolder
from gfkeras.evaluation import GROUP_AWARE, AllPairs, evaluate_pairs, sample_pairs
from gfkeras.experiments.ablation import Grid, TrainingFaces, ablate
from gfkeras.experiments.ablation import run as runs
from gfkeras.models import count_macs
from gfkeras.training import train

SCRIPT = """
import os, signal, sys
import keras
from gfkeras.experiments.ablation import Grid, TrainingFaces, ablate
from gfkeras.experiments.ablation import run as runs

grid, data, out, die_after = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
train = runs.train

class Die(keras.callbacks.Callback):
    steps = 0
    def on_train_batch_end(self, batch, logs=None):
        Die.steps += 1
        if Die.steps == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

runs.train = lambda *a, **k: train(*a, **k, callbacks=[Die()])
ablate(Grid.read(grid), TrainingFaces(data), out)
"""


@pytest.fixture
def asked(monkeypatch):
    """Collects the recipes that `train` gets. It refuses them, because training takes long."""
    found = []

    def refuse(recipe, *arguments, **named):
        found.append(recipe)
        raise ValueError("not today")

    monkeypatch.setattr(runs, "train", refuse)
    return found


@pytest.fixture(scope="module")
def tables(ablation_tables):
    return {**ablation_tables, "seeds": [0]}


@pytest.fixture(scope="module")
def done(tmp_path_factory, tables, people_folder):
    """The grid with one seed, finished after a kill: result, folder, and resumed trainings."""
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "grid.toml").write_text(tomli_w.dumps(tables))
    # Kill the process in the first training, after the first of two steps.
    arguments = (str(folder / "grid.toml"), str(people_folder), str(folder / "out"), "1")
    process = start_python(SCRIPT, *arguments, forked=True)
    assert process.wait()[0] == -9
    steps = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps[-1][1] += 1

    def counted(recipe, *given, **named):
        steps.append([recipe.model.name, 0])
        return train(recipe, *given, **named, callbacks=[Count()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", counted)
        result = ablate(Grid.parse(tables), TrainingFaces(people_folder), folder / "out")
    return result, folder / "out", steps


@pytest.fixture
def copied(done, tmp_path):
    return shutil.copytree(done[1], tmp_path / "out")


def test_each_training_runs_once_and_all_rows_are_scored(done):
    result, out, _ = done
    assert result.trained == 2
    assert result.failures == []
    assert [list(row.scores) for row in result.rows] == [[0]] * 5
    assert {row.training for row in result.rows[1:]} == {result.rows[1].training}
    written = json.loads((out / "results.json").read_text())
    assert written == json.loads(json.dumps(result.to_json()))
    assert len(list(csv.reader((out / "table.csv").open()))) == 6
    assert (out / "table.md").read_text().count("\n| ") == 7
    # Finished trainings keep no checkpoints.
    assert sorted(path.name for path in (out / "trainings").glob("*/*") if path.is_dir()) == sorted(
        name for name in ["last", "tensorboard"] * 2
        if name == "last" or keras.backend.backend() == "tensorflow"
    )  # fmt: skip


def test_scores_are_those_of_the_evaluation(done, people_folder):
    result, out, _ = done
    model = gfkeras.load(out / "trainings" / f"{result.rows[1].training}-seed0" / "last")
    pairs = TrainingFaces(people_folder).heldout_pairs(result.rows[1].row.recipe)
    assert len(pairs) == 20
    soft, hard, instance, aware = (row.scores[0] for row in result.rows[1:])

    def check(score, network, **options):
        found = evaluate_pairs(gfkeras.Embedder(network).embed_files, pairs, **options)
        assert score["auc"] == pytest.approx(found.auc)
        assert score["accuracy"] == pytest.approx(found.accuracy)
        assert score["tar_at_far"] == pytest.approx(found.tar_at_far)

    check(soft, model)
    check(aware, model, similarity=GROUP_AWARE)
    check(instance, keras.Model(model.inputs, model.output["instance"]))
    model.mode = "hard"
    check(hard, model)


def test_all_pairs_and_a_second_list_score_finished_trainings(done, copied, tables, people_folder):
    recipe = done[0].rows[1].row.recipe
    people = FaceFolder(people_folder).split(recipe.data.holdout_identities)[1]
    every, listed = (
        AllPairs(people.paths, people.labels),
        sample_pairs(people.paths, people.labels, 20),
    )
    faces = TrainingFaces(people_folder)
    result = ablate(Grid.parse(tables), faces, copied, pairs=every, profiles=listed)
    assert result.trained == 0
    before, row = done[0].rows[1].scores[0], result.rows[1].scores[0]
    assert row["pairs"] == len(every) == 66
    assert row["impostor"] == 48
    # The second list is the one of the first scores.
    assert row["cfp_fp"] == before["accuracy"]
    assert "CFP-FP %" in (copied / "table.md").read_text()
    again = ablate(Grid.parse(tables), faces, copied, pairs=every, profiles=listed)
    assert again.to_json() == result.to_json()


def test_the_cost_of_a_row(done):
    result, out, _ = done
    plain, soft, hard, instance, aware = (row.scores[0] for row in result.rows)
    model = gfkeras.load(out / "trainings" / f"{result.rows[1].training}-seed0" / "last")
    assert soft["macs"] == count_macs(model, "soft")
    assert hard["macs"] == count_macs(model, "hard")
    # The group FCs are 32 → 16 for each of three groups.
    assert soft["macs"] - hard["macs"] == 2 * 32 * 16
    assert soft["parameters"] == hard["parameters"] == model.count_params()
    # v by the cosine needs no groups. The group-aware similarity needs their decision.
    assert instance["macs"] == plain["macs"]
    assert instance["parameters"] == plain["parameters"]
    assert aware["macs"] == soft["macs"]
    assert result.rows[0].cost("macs") == plain["macs"]


def test_nothing_is_trained_again(copied, tables, people_folder, asked):
    faces = TrainingFaces(people_folder)
    before = (copied / "results.json").read_text()
    assert ablate(Grid.parse(tables), faces, copied).trained == 0
    assert (copied / "results.json").read_text() == before
    # Another evaluation option is scored on the finished training.
    rows = [
        *tables["row"],
        {"name": "group", "representation": "group"},
        {"name": "b", "beta": 0.3},
    ]
    result = ablate(Grid.parse({**tables, "row": rows}), faces, copied)
    assert [len(row.scores) for row in result.rows] == [1] * 7
    assert asked == []
    accuracies = {row.row.name: row.scores[0]["auc"] for row in result.rows}
    assert accuracies["group"] != accuracies["instance"]


def test_other_pairs_are_scored_without_training(copied, tables, people_folder, asked):
    faces = TrainingFaces(people_folder)
    grid = Grid.parse(tables)
    pairs = faces.heldout_pairs(grid.rows[0].recipe).select(np.arange(4, 16))
    result = ablate(grid, faces, copied, pairs=pairs, rows=["soft"])
    # All rows of that training are scored, and no rows of the other.
    assert [[score["pairs"] for score in row.scores.values()] for row in result.rows] == [
        [], [12], [12], [12], [12],
    ]  # fmt: skip
    assert asked == []


def test_a_changed_recipe_or_other_data_is_trained_anew(copied, tables, people_folder, asked):
    changed = Grid.parse(tables, ["head.margin=0.2"])
    result = ablate(changed, TrainingFaces(people_folder), copied, rows=["plain"])
    assert [recipe.head.arguments for recipe in asked] == [{"scale": 16.0, "margin": 0.2}]
    assert [len(row.scores) for row in result.rows] == [0] * 5
    assert result.failures == [("plain", 0, "not today")]
    fewer = TrainingFaces(people_folder, [f"p{i}" for i in range(1, 7)])
    ablate(Grid.parse(tables), fewer, copied, rows=["plain"])
    assert len(asked) == 2
    # The original grid and data still find the finished trainings.
    again = ablate(Grid.parse(tables), TrainingFaces(people_folder), copied)
    assert (again.trained, again.failures) == (0, [])
    assert [len(row.scores) for row in again.rows] == [1] * 5


def test_a_killed_training_is_resumed(done):
    # Each has two steps. The first training had done one of them before the kill.
    assert done[2] == [["Backbone", 1], ["GroupFace", 2]]


SHARING = """
import shutil, sys, time
from pathlib import Path
from gfkeras.experiments.ablation import Grid, TrainingFaces, ablate
from gfkeras.experiments.ablation import run as runs

grid, data, out, whole = sys.argv[1:5]

def train(recipe, faces, folder, **named):
    # What training would come to, without the time that it takes.
    print(repr(folder.name), flush=True)
    time.sleep(0.5)
    shutil.copytree(Path(whole) / "trainings" / folder.name.replace("seed1", "seed0"), folder)
    (folder / "scores.json").unlink()

runs.train = train
ablate(Grid.read(grid), TrainingFaces(data), out)
"""


def test_two_processes_share_a_folder(tmp_path, tables, people_folder, done):
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps({**tables, "seeds": [0, 1]}))
    out = tmp_path / "out"
    arguments = (str(grid), str(people_folder), str(out), str(done[1]))
    both = [start_python(SHARING, *arguments, forked=True) for _ in range(2)]
    shares = [process.literals(timeout=300) for process in both]
    # Each training ran once, and each process ran some.
    names = [name for share in shares for name in share]
    assert sorted(names) == sorted(
        f"{training}-seed{seed}" for training in {row.training for row in done[0].rows}
        for seed in (0, 1)
    )  # fmt: skip
    assert all(shares)
    # The process that finished first has waited for the other.
    written = json.loads((out / "results.json").read_text())
    for found, alone in zip(written["rows"], done[0].rows, strict=True):
        assert [found["seeds"][seed]["auc"] for seed in "01"] == [alone.scores[0]["auc"]] * 2


def test_work_of_another_process_is_left_to_it(copied, tables, people_folder, asked):
    """It is taken over if that process ends without finishing it."""
    grid = Grid.parse(tables)
    name = grid.rows[0].training(TrainingFaces(people_folder).fingerprint(grid.rows[0].recipe))
    shutil.rmtree(copied / "trainings" / f"{name}-seed0")
    held = filelock.FileLock(copied / "trainings" / f"{name}-seed0.lock")
    held.acquire()
    seen = []

    def progress(what, done, total):
        seen.append((what, done, total))
        if what.startswith("waiting"):
            held.release()

    ablate(grid, TrainingFaces(people_folder), copied, progress=progress)
    # The released run is not finished, so it is taken over.
    assert seen == [
        ("soft, seed 0", 0, 2), ("waiting for another process", 1, 2),
        ("plain, seed 0", 1, 2), ("done", 2, 2),
    ]  # fmt: skip
    assert len(asked) == 1


def test_a_row_that_fails_does_not_keep_the_others(tmp_path, copied, tables, people_folder, capsys):
    rows = [{"name": "too large", "training.batch_size": 999}, tables["row"][0]]
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps({**tables, "row": rows}))
    arguments = [str(grid), "--data", str(people_folder), "--out", str(copied), "--quiet"]
    assert main(["ablate", *arguments, "--json", str(tmp_path / "r.json")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert (
        "1 rows failed. The first is 'too large' with seed 0: `training.batch_size` must be"
        in said.err
    )
    found = json.loads((tmp_path / "r.json").read_text())
    assert [len(row["seeds"]) for row in found["rows"]] == [0, 1]
    assert found["failures"][0][:2] == ["too large", 0]
    assert "too large, seed 0, failed: `training.batch_size`" in (copied / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`data` is required without --plan"),
        (["--data", "{data}"], "`out` is required without --plan"),
        (["--seeds", "0,x"], "`seeds` must be whole numbers of at least 0"),
        (["--set", "training.epoch=1"], "did you mean 'epochs'"),
        (["--data", "{data}", "--out", "{out}", "--rows", "9"], "`rows` must be from 1 to 5"),
        (["--data", "{data}", "--out", "{out}", "--pairs", "30", "--pairs-data", "{data}"],
         "`pairs` must show people who are not trained on. Received: "),
        (["--data", "{data}", "--out", "{out}", "--pairs-data", "{data}"], "(--pairs)"),
        (["--data", "{data}", "--out", "{out}", "--set", "data.holdout_identities=0"],
         "`pairs` must be given, unless the recipe's `data.holdout_identities`"),
    ],
)  # fmt: skip
def test_errors_of_the_command(arguments, message, tmp_path, tables, people_folder, capsys):
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(tables))
    given = [each.format(data=people_folder, out=tmp_path / "out") for each in arguments]
    assert main(["ablate", str(grid), *given]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_plan(tmp_path, tables, capsys):
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(tables))
    assert main(["ablate", str(grid), "--plan"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "2 runs × 1 seeds"
    assert said.splitlines()[3].split() == ["3", "soft", "to", "hard", "soft"]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.slow
def test_on_jax_without_tensorflow(tmp_path, tables, people_folder):
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(tables))
    script = "import sys\nfrom gfkeras.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = ["ablate", str(grid), "--data", str(people_folder), "--out", str(tmp_path / "out")]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + script, *command],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [list(row["seeds"]) for row in written["rows"]] == [["0"]] * 5
