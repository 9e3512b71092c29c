"""docs/heads_and_losses.md: its Python runs, its recipe is read, its tables are complete."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest

from gfkeras import backbones, heads, losses
from gfkeras.training import Recipe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "heads_and_losses.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def rows(heading: str) -> dict[str, str]:
    """The table rows under a heading, by the name in their first cell."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` (\|.*)$", section, re.M)}


def pooled(width: float, embedding_dim: int) -> keras.Model:
    """In place of a MobileFaceNet, which takes long to compile."""
    images = keras.Input((112, 112, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(images))
    return keras.Model(images, keras.layers.Dense(embedding_dim)(keras.layers.Rescaling(0.01)(x)))


def test_the_python_runs(monkeypatch):
    monkeypatch.setattr(backbones, "MobileFaceNet", pooled)
    names: dict = {}
    for block in blocks("python"):
        exec(block, names)
    for trained in ("training", "own"):
        assert np.isfinite(names[trained].history.history["loss"]).all()


def test_the_recipe_is_read():
    (text,) = blocks("toml")
    recipe = Recipe.parse(tomllib.loads(text))
    assert [loss.name for loss in recipe.loss] == ["TripletLoss", "CosineDistillationLoss"]


def test_every_head_and_loss_has_its_row():
    assert set(rows("Heads")) == set(heads.HEADS)
    assert set(rows("Losses")) == set(losses.LOSSES)


@pytest.mark.parametrize("name", heads.HEADS)
def test_the_heads_defaults_are_as_printed(name):
    parameters = inspect.signature(heads.HEADS[name].__init__).parameters
    printed = re.findall(r"`(\w+)=([^`]+)`", rows("Heads")[name])
    assert printed or name == "SubCenterArcFace"
    for argument, value in printed:
        assert parameters[argument].default == eval(value), argument


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_losses_weights_are_as_printed(name):
    weight = inspect.signature(losses.LOSSES[name].__init__).parameters["weight"].default
    assert float(rows("Losses")[name].split("|")[-2]) == weight
