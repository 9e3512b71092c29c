"""The recipes of the two trainings."""

from __future__ import annotations

import pytest

from gfkeras.experiments.cleaning.recipes import (
    with_one_center,
    with_same_updates,
    with_sub_centers,
)
from gfkeras.training import Recipe

HEAD = {"name": "ArcFace", "scale": 30.0, "margin": 0.4}


def test_the_head_alone_changes():
    plain = Recipe.parse({"head": HEAD, "seed": 4, "training": {"epochs": 7}})
    found = with_sub_centers(plain)
    assert found.head.arguments == {"scale": 30.0, "margin": 0.4, "sub_centers": 3}
    assert with_sub_centers(plain, 5).head.arguments["sub_centers"] == 5
    assert with_sub_centers(with_sub_centers(plain, 5)).head.arguments["sub_centers"] == 5
    assert with_one_center(found) == plain


def test_a_recipe_that_starts_from_weights_stays_one():
    recipe = Recipe.parse({"head": HEAD, "model": {"init": "h_groupface_mobilefacenet"}})
    assert with_sub_centers(recipe).model == recipe.model


def test_fewer_images_are_seen_in_as_many_batches():
    schedule = {"name": "step", "milestones": [10.0, 20.0], "warmup_epochs": 2.0}
    recipe = Recipe.parse({"schedule": schedule, "training": {"epochs": 30, "batch_size": 10}})
    longer = with_same_updates(recipe, images=305, kept=209)
    # 30 batches an epoch become 20.
    assert longer.training.epochs == 45
    assert longer.schedule.milestones == pytest.approx([15, 30])
    assert longer.schedule.warmup_epochs == pytest.approx(3)
    assert with_same_updates(recipe, 305, 305) == recipe
    # Steps count no epochs.
    by_steps = {"training": {"steps": 900, "batch_size": 10}, "schedule": schedule}
    longer = with_same_updates(Recipe.parse(by_steps), 305, 209)
    assert (longer.training.steps, longer.schedule.milestones) == (900, [15, 30])
    by_steps["schedule"] = schedule | {"unit": "steps"}
    longer = with_same_updates(Recipe.parse(by_steps), 305, 209)
    assert (longer.schedule.milestones, longer.schedule.warmup_epochs) == ([10, 20], 3)


def test_stages_are_refused_before_a_training():
    recipe = Recipe.parse({"head": HEAD, "stage": [{"name": "first"}, {"name": "second"}]})
    with pytest.raises(ValueError, match=r"no \[\[stage\]\].* Received: the stages first, second"):
        with_sub_centers(recipe)
