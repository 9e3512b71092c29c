"""Objects built from a recipe: augmentation, schedules, optimizers and Partial FC."""

from __future__ import annotations

import tomllib

import pytest

from gfkeras.training import Recipe
from gfkeras.training.build import build_augmentation, build_classifier, build_optimizer
from gfkeras.training.recipe_sections import SCHEDULE_KEYS
from gfkeras.training.schedules import SCHEDULES, build_schedule


def read(text: str, *settings: str) -> Recipe:
    return Recipe.parse(tomllib.loads(text), settings)


def augmentation_of(recipe: Recipe):
    return build_augmentation(recipe.data, recipe.augmentation)


def test_augmentation_is_built_in_the_order_of_the_recipe(tmp_path):
    text = (
        "[data]\nflip = false\nshift = 4\n"
        "[[augmentation]]\nname = 'crop'\nscale = [0.8, 1.0]\n"
        "[[augmentation]]\nname = 'color'\nbrightness_factor = 0.2\nprobability = 0.5"
    )
    augmentation = augmentation_of(read(text, "augmentation.0.probability=0.3"))
    assert (augmentation.flip, augmentation.shift) == (False, 4)
    assert augmentation.layers == [
        {"name": "crop", "scale": [0.8, 1.0], "probability": 0.3},
        {"name": "color", "brightness_factor": 0.2, "probability": 0.5},
    ]
    recipe = read(text)
    recipe.write(tmp_path / "written.toml")
    assert Recipe.read(tmp_path / "written.toml") == recipe
    assert augmentation_of(read("[data]\nflip = false")) is None


def test_schedules():
    step = read(
        "[optimizer]\nlearning_rate = 0.8\n"
        "[schedule]\nname = 'step'\nmilestones = [2, 3]\nfactor = 0.5\nwarmup_epochs = 1",
    )
    schedule = build_schedule(step.schedule, 0.8, step.training.epochs, steps_per_epoch=4)
    rates = [float(schedule(i)) for i in range(14)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4:] == pytest.approx([0.8] * 5 + [0.4] * 4 + [0.2])
    again = type(schedule).from_config(schedule.get_config())
    assert [float(again(i)) for i in range(14)] == rates

    cosine = read("[schedule]\nname = 'cosine'\n[training]\nepochs = 2")
    schedule = build_schedule(cosine.schedule, 0.02, 2, steps_per_epoch=5)
    assert float(schedule(0)) == pytest.approx(0.02)
    assert float(schedule(5)) == pytest.approx(0.01)
    assert float(schedule(10)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_takes_its_own_keys_only(name):
    values = {
        "milestones": [1.0, 2.0],
        "unit": "epochs",
        "factor": 0.5,
        "power": 1.0,
        "final_factor": 0.2,
    }
    own = {key: values[key] for key in SCHEDULE_KEYS[name]}
    recipe = Recipe.parse({"schedule": {"name": name, "warmup_epochs": 1.0, **own}})
    written = recipe.model_dump()["schedule"]
    assert written == {"name": name, "warmup_epochs": 1.0, **own}
    assert Recipe.parse({"schedule": written}) == recipe
    assert float(build_schedule(recipe.schedule, 0.1, 4, steps_per_epoch=5)(4)) <= 0.1 + 1e-7
    for key in values.keys() - own.keys():
        with pytest.raises(ValueError, match=rf"`{key}` belongs to .*'{name}' takes .*warmup"):
            Recipe.parse({"schedule": {"name": name, **own, key: values[key]}})


def test_only_weights_decay():
    recipe = read("[model.backbone]\nname='MobileFaceNet'\nwidth=0.125\n[optimizer]\nname='SGD'")
    recipe.model.shared_dim = "none"
    recipe.model.num_groups = 2
    classifier = build_classifier(recipe, num_classes=3, steps_per_epoch=1)
    optimizer = classifier.optimizer
    optimizer.build(classifier.trainable_variables)
    decayed = {
        v.path.rsplit("/", 1)[-1]
        for v in classifier.trainable_variables
        if optimizer._use_weight_decay(v)
    }
    spared = {
        v.path.rsplit("/", 1)[-1]
        for v in classifier.trainable_variables
        if not optimizer._use_weight_decay(v)
    }
    assert decayed == {"kernel", "centers"}
    assert spared == {"gamma", "beta", "alpha", "bias"}
    recipe.optimizer.decay_norm_and_bias = True
    everything = build_optimizer(recipe.optimizer, 0.1)
    everything.build(classifier.trainable_variables)
    assert all(everything._use_weight_decay(v) for v in classifier.trainable_variables)


def test_the_optimizer_has_what_its_table_says():
    recipe = read(
        "[optimizer]\nname='AdamW'\nmomentum=0.8\nweight_decay=0.1\nweight_decay_mode='l2'\n"
        "global_clipnorm=5.0\naccumulate_steps=4",
    )
    optimizer = build_optimizer(recipe.optimizer, 0.1)
    config = optimizer.get_config()
    assert {key: config[key] for key in ("beta_1", "weight_decay", "weight_decay_mode")} == {
        "beta_1": 0.8,
        "weight_decay": 0.1,
        "weight_decay_mode": "l2",
    }
    assert (config["global_clipnorm"], config["gradient_accumulation_steps"]) == (5.0, 4)
    plain = build_optimizer(read("").optimizer, 0.1).get_config()
    assert plain["gradient_accumulation_steps"] is None
    assert plain["weight_decay_mode"] == "decoupled"


def test_partial_fc_has_room_for_a_batch():
    text = (
        "[model]\nname='Backbone'\nembedding_dim=8\n"
        "[model.backbone]\nname='MobileFaceNet'\nwidth=0.0625\n"
        "[head]\nname='PartialFC'\nsample_rate=0.1\nhead='CosFace'\n"
        "head_arguments={margin=0.2}\n[training]\nbatch_size=32"
    )
    head = build_classifier(read(text), num_classes=200, steps_per_epoch=1).head
    assert (head.samples, head.inner.margin) == (32, 0.2)
