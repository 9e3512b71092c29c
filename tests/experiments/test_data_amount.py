"""The study of the amount of training data: which people, how many steps, table and plot."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

from gfkeras.cli import main
from gfkeras.data import FaceFolder
from gfkeras.experiments.ablation import Grid
from gfkeras.experiments.ablation.data_amount import AMOUNT_PLOT
from gfkeras.tasks.ablate import ablate, read_grid
from gfkeras.training.training_data import load_faces, part_of_people

LABELS = np.repeat(np.arange(40), np.arange(1, 41))


def test_amounts_are_nested_and_large_enough():
    whole = len(LABELS)
    before: set[int] = set()
    for amount in (2, 0.05, 0.2, 400, 0.7, 1.0):
        people = part_of_people(LABELS, amount, seed=3)
        images = int(np.isin(LABELS, people).sum())
        wanted = amount * whole if isinstance(amount, float) else amount
        # One person fewer would be too few, and the largest person has 40 images.
        assert wanted <= images < wanted + 40 + 40
        assert before <= set(people.tolist())
        assert sorted(people) == list(people)
        before = set(people.tolist())
    assert len(before) == 40
    half = part_of_people(LABELS, 0.5, seed=3)
    np.testing.assert_array_equal(half, part_of_people(LABELS, 0.5, seed=3))
    assert set(half) != set(part_of_people(LABELS, 0.5, seed=4))
    assert len(part_of_people(LABELS, 0.001, seed=0)) == 2
    with pytest.raises(ValueError, match=r"`data\.amount` must be at most the 820"):
        part_of_people(LABELS, 821, seed=0)


def test_folders_and_faces_give_the_same_people(people_folder, ablation_tables):
    section = Grid.parse({**ablation_tables, "base": {"data": {"amount": 0.5}}}).rows[0].recipe.data
    folder = FaceFolder(people_folder)
    of_folder, heldout, whole = load_faces(section, folder, None, 1)
    of_faces, _, same = load_faces(section, folder.load(), None, 1)
    assert of_folder.identities == of_faces.identities
    np.testing.assert_array_equal(of_folder.images, of_faces.images)
    assert (len(of_folder), len(heldout.identities), whole, same) == (8, 3, 16, 16)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough")
def test_table_and_plot(people_folder, ablation_tables, tmp_path, capfd):
    tables = {name: ablation_tables[name] for name in ("recipe",)} | {
        "seeds": [0], "design": "product", "axes": {"data.amount": [0.5, 1.0]},
        "base": {"groups": "none"},
    }  # fmt: skip
    grid = Grid.parse(tables)
    out = tmp_path / "out"
    found = ablate(grid, people_folder, out)
    assert not found.failures
    trainings = [row.scores[0]["training"] for row in found.rows]
    assert [(each["images"], each["identities"]) for each in trainings] == [(8, 2), (16, 4)]
    # Both trained for two steps of eight images, so the smaller part was seen twice.
    for folder in (out / "trainings").iterdir():
        if folder.is_dir():
            with (folder / "log.csv").open() as file:
                assert len(list(csv.DictReader(file))) == 1
    table = (out / "table.md").read_text()
    assert "data.amount 0.5" in table
    assert "data.amount 1.0" in table
    assert (out / AMOUNT_PLOT).stat().st_size > 10_000


def test_axes_of_the_command_line(capfd):
    plan = ["ablate", "data-amount", "--plan", "--axis"]
    assert main([*plan, "data.amount=2600,26000,0.5"]) == 0
    assert "data.amount 26000" in capfd.readouterr().out
    assert main([*plan, "data.amount=0"]) == 2
    assert "expected a share above 0" in capfd.readouterr().err


def test_values_of_axes():
    names = [row.name for row in read_grid("data-amount", axes=["data.amount=2,0.5"]).rows]
    assert names == ["data.amount 2", "data.amount 0.5"]
    twice = read_grid("data-amount", axes=["data.amount=2", "data.amount=0.5"]).rows
    assert [row.name for row in twice] == names
    heads = read_grid("data-amount", axes=["data.amount=1.0", "head=CosFace, ArcFace"]).rows
    assert [row.recipe.head.name for row in heads] == ["CosFace", "ArcFace"]
    for axis, message in (
        ("data.amount=few", r"expected a share .* Received: 'few' \(string\)"),
        ("data.amount=0", "expected a share"),
        ("data.amount=-5", "expected a share"),
        ("data.amount=1.5", "expected a share"),
        ("data.amount=nan", "expected a share"),
        ("data.amount=0.5,0.5", "twice"),
        ("data.amount=", "at least one value"),
        ("data.amount", r"`axis` \(--axis\) must look like key=value,value"),
        ("=3", r"`axis` \(--axis\) must look like"),
        ("data.amuont=0.5", "did you mean 'amount'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_grid("data-amount", axes=[axis])
