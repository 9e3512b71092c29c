"""The tables and default values in docs/heads_and_losses.md."""

from __future__ import annotations

import inspect
import re
import tomllib

import pytest
from markdown_blocks import ROOT, blocks

from gfkeras import heads, losses
from gfkeras.training import Recipe

PAGE = (ROOT / "docs" / "heads_and_losses.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """Returns the table rows under a heading, by the name in the first cell."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` (\|.*)$", section, re.M)}


def test_the_recipe_has_the_losses_that_the_page_names():
    (block,) = [block for block in blocks("docs/heads_and_losses.md") if block.language == "toml"]
    recipe = Recipe.parse(tomllib.loads(block.text))
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
