"""Recipes with stages: what each takes from the one before, and resuming in any stage."""

from __future__ import annotations

import copy
import shutil

import keras
import numpy as np
import pytest
from interrupted_runs import SCRIPT, assert_same_run, stopped
from processes import start_python

import gfkeras.tasks.train as task
from gfkeras.training import Recipe, load_classifier, train
from gfkeras.training.starting import named_layers

STAGES = [
    {
        "name": "arcface",
        "loss": [],
        "model": {"num_groups": 3, "group_initializer": "zeros", "freeze": ["group_*"]},
        "head": {"name": "NormSoftmax", "scale": 16.0},
    },
    {"name": "groupface", "training": {"epochs": 2}},
]


@pytest.fixture(scope="module")
def tables(recipe_tables):
    """A stage of one epoch and one of two, of three steps each. Each step has a checkpoint."""
    found = copy.deepcopy(recipe_tables) | {"data": {}, "stage": copy.deepcopy(STAGES)}
    found["training"] |= {"epochs": 1, "checkpoint_steps": 1}
    return found


def test_stages_change_the_recipe(tables):
    recipe = Recipe.parse(tables, ["loss.0.weight=0.2", "stage.1.optimizer.learning_rate=0.5"])
    first, second = recipe.in_stages().values()
    # A table with another name replaces the recipe's. So does a list.
    assert (first.head.name, first.head.arguments) == ("NormSoftmax", {"scale": 16.0})
    assert (first.model.num_groups, first.model.shared_dim, first.loss) == (3, 32, [])
    assert first.optimizer.learning_rate == recipe.optimizer.learning_rate == 0.002
    assert (second.model, second.head) == (recipe.model, recipe.head)
    assert (second.loss[0].arguments["weight"], second.optimizer.learning_rate) == (0.2, 0.5)
    assert Recipe.parse(recipe.model_dump(exclude_none=True)) == recipe


def test_a_setting_has_priority_over_the_stages(tables):
    stages = Recipe.parse(tables, ["training.epochs=7", "head.scale=9.0"]).in_stages().values()
    assert [each.training.epochs for each in stages] == [7, 7]
    assert [each.head.arguments["scale"] for each in stages] == [9.0, 9.0]


def test_epochs_replace_steps_and_steps_epochs(tables):
    recipe = Recipe.parse(tables, ["training.steps=50"])
    assert [each.training.steps for each in recipe.in_stages().values()] == [50, 50]
    both = Recipe.parse(tables | {"training": {"steps": 9}}, ["stage.0.training.epochs=3"])
    first, second = (each.training for each in both.in_stages().values())
    assert (first.steps, first.epochs, second.steps, second.epochs) == (None, 3, None, 2)
    short = Recipe.read("groupface_r100", ["training.epochs=1"]).in_stages().values()
    assert [(each.training.steps, each.training.epochs) for each in short] == [(None, 1)] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a/b"}, r"`stage\.0\.name`: expected a name of letters, digits, - and _"),
        ({"name": "groupface"}, "stage 'groupface': expected another name"),
        ({"trianing": {}}, r"stage 'arcface': Unknown key 'trianing' .* did you mean 'training'"),
        ({"head": {"name": "ArcFce"}}, "stage 'arcface': Unknown head 'ArcFce'"),
        ({"training": {"strategy": "mirrored"}}, r"`training\.strategy` must be 'none' as in the"),
        ({"data": {"holdout_identities": 1}}, r"`data\.holdout_identities` must be 0 as in the"),
    ],
)
def test_stages_that_do_not_fit_are_named(tables, change, message):
    changed = copy.deepcopy(tables)
    changed["stage"][0] |= change
    with pytest.raises(ValueError, match=message):
        Recipe.parse(changed)


@pytest.fixture(scope="module")
def recipe(tables):
    return Recipe.parse(tables)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, recipe, tiny_faces):
    """The folder and the result of both stages, without a disturbance."""
    out, started = tmp_path_factory.mktemp("stages") / "run", []
    result = train(
        recipe, tiny_faces, out, verbose=0, on_stage=lambda *which: started.append(which)
    )
    assert started == [("arcface", 1, 2), ("groupface", 2, 2)]
    return out, result


class FirstStep(keras.callbacks.Callback):
    """Keeps the weights before the first step of a stage."""

    def on_train_begin(self, logs=None):
        layers = dict(named_layers(self.model.model))
        self.weights = {name: layer.get_weights() for name, layer in layers.items()}
        self.centers = keras.ops.convert_to_numpy(self.model.head.centers)


def test_a_stage_starts_from_the_one_before(whole, tmp_path, recipe, tiny_faces):
    out, result = whole
    assert (result.out, result.epochs) == (out, 2)
    first = out / "stages" / "arcface"
    before, _ = load_classifier(first)
    assert type(before.head).__name__ == "NormSoftmax"
    # The groups stayed at zero, so the embedding is v alone.
    assert not np.any(before.model.get_layer("group_ensemble").get_weights()[0])
    (note,) = (note for note in result.notes if note.startswith("Weights"))
    taken = "backbone, shared_fc, shared_bn, instance_fc, instance_bn."
    assert note == (
        f"Weights from {first}: {taken} Started fresh: group_decision, group_ensemble. "
        "The class centers are taken too."
    )
    # The stage alone, from the run of the first one.
    started = FirstStep()
    alone = recipe.in_stages()["groupface"].starting_from(first)
    train(alone, tiny_faces, tmp_path / "alone", verbose=0, callbacks=[started])
    for name, layer in named_layers(before.model):
        if not name.startswith("group_"):
            for ours, theirs in zip(started.weights[name], layer.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert not np.any(started.weights["group_ensemble"][0])
    np.testing.assert_array_equal(started.centers, before.head.centers)
    assert_same_run(tmp_path / "alone", out)


def test_a_model_folder_has_no_centers(whole, tmp_path, recipe, tiny_faces):
    out, _ = whole
    started = FirstStep()
    alone = recipe.in_stages()["groupface"].starting_from(out / "stages" / "arcface" / "last")
    alone.training.epochs = 1
    result = train(alone, tiny_faces, tmp_path / "run", verbose=0, callbacks=[started])
    assert not any("centers" in note for note in result.notes)
    before, _ = load_classifier(out / "stages" / "arcface")
    assert np.any(started.centers != keras.ops.convert_to_numpy(before.head.centers))


def steps_of(recipe, faces) -> list[int]:
    batches = len(faces) // recipe.training.batch_size
    return [batches * each.training.epochs for each in recipe.in_stages().values()]


@pytest.mark.parametrize("stage", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_killed_in_a_stage_it_resumes_to_the_bit(stage, tmp_path, tiny_faces, recipe, whole):
    recipe.write(tmp_path / "recipe.toml")
    first, second = steps_of(recipe, tiny_faces)
    assert (first, second) == (3, 6)
    # The second step of the first stage, or the fourth of the second one.
    steps = (2, first + 4)[stage]
    arguments = (str(tmp_path / "run"), str(steps), "new", str(tmp_path / "recipe.toml"))
    assert start_python(SCRIPT, *arguments, forked=True).wait()[0] == -9
    assert not (tmp_path / "run" / "summary.json").exists()
    assert (tmp_path / "run" / "stages" / "arcface" / "summary.json").exists() == bool(stage)
    # The folder of a run can be moved before it is resumed.
    run = shutil.move(tmp_path / "run", tmp_path / "moved")
    result = train(recipe, tiny_faces, run, resume=True, verbose=0)
    assert result.epochs == 2
    assert_same_run(run, whole[0])
    assert_same_run(run / "stages" / "arcface", whole[0] / "stages" / "arcface")
    moved = shutil.move(run, tmp_path / "moved again")
    assert load_classifier(moved)[0].model.num_groups == recipe.model.num_groups


def test_a_run_of_stages_is_not_overwritten(tmp_path, tiny_faces, recipe):
    stopped(recipe, tiny_faces, tmp_path / "run", 1)
    with pytest.raises(ValueError, match=r"already holds a run \(stages\)"):
        train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    other = Recipe.parse(recipe.model_dump(exclude_none=True), ["stage.0.head.scale=8.0"])
    with pytest.raises(ValueError, match=r"another \[head\]: .* head.scale = 16.0. Received: 8.0"):
        train(other, tiny_faces, tmp_path / "run", resume=True, verbose=0)


def test_steps_instead_of_epochs(tmp_path, tiny_faces, recipe):
    tables = recipe.model_dump(exclude_none=True, exclude={"stage"})
    del tables["training"]["epochs"]
    tables["schedule"] = {"name": "step", "milestones": [2, 5], "unit": "steps"}
    plain = Recipe.parse(tables, ["training.steps=7"])
    result = train(plain, tiny_faces, tmp_path / "run", verbose=0)
    assert result.epochs == 2  # of three steps
    written = Recipe.read(tmp_path / "run" / "recipe.toml")
    assert (written, written.training.steps) == (plain, 7)
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("learning_rate")
    rates = [float(row.split(",")[column]) for row in rows[1:]]
    assert rates == pytest.approx([0.0002, 0.00002], rel=1e-5)
    with pytest.raises(ValueError, match="`epochs` or `steps`, not both"):
        Recipe.parse({"training": {"steps": 7, "epochs": 2}})


def test_a_stage_can_be_trained_alone(tmp_path, recipe):
    recipe.write(tmp_path / "recipe.toml")
    Recipe.parse({}).write(tmp_path / "plain.toml")
    for name, stage, message in (
        ("recipe", "arcfce", "Unknown stage 'arcfce'; did you mean 'arcface'"),
        # From random weights it would be another training.
        ("recipe", "groupface", "`model.init` must name weights, .* a run of 'arcface'"),
        ("plain", "arcface", r"requires a recipe with a \[\[stage\]\]. Received: stage='arcface'"),
    ):
        with pytest.raises(ValueError, match=message):
            task.train(tmp_path / f"{name}.toml", tmp_path, tmp_path / "run", stage=stage)


LISTED = {"name": "TripletLoss", "mining": "listed"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": {"name": "CosFace", "margin": 7.0}}, r"`margin` must be in \[0, 1\)"),
        ({"model": {"freeze": ["grop_*"]}}, "`model.freeze` must match a layer"),
        ({"optimizer": {"learning_rate_factors": {"x": 0.1}}}, "factors` must match a layer"),
        ({"training": {"batch_size": 800}}, "`training.batch_size` must be at most the 24"),
        ({"model": {"backbone": {"width": 0.125}}}, "`model.backbone.width` must be 0.0625"),
        ({"model": {"init": "nowhere"}}, "`model.init` must be a preset.* 'nowhere'"),
        ({"loss": [], "model": {"name": "Backbone"}}, "'the stage before', a GroupFace"),
        ({"head": {"name": "none"}, "loss": [LISTED], "mining": {}}, "must be a multiple of 3"),
        ({"loss": [{"name": "CenterLoss", "alpha": "x"}]}, r"\[loss.0\] has a value of a type"),
    ],
)
def test_a_later_stage_is_checked_before_the_first_step(
    change, message, tmp_path, tables, tiny_faces
):
    changed = copy.deepcopy(tables)
    changed["stage"][1] |= change
    with pytest.raises(ValueError, match=f"stage 'groupface': .*{message}"):
        train(Recipe.parse(changed), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_changes_of_a_finished_stage_are_noted(tmp_path, whole, tables, tiny_faces):
    run = shutil.copytree(whole[0], tmp_path / "run")
    changed = copy.deepcopy(tables)
    changed["stage"][0] |= {"training": {"epochs": 3}}
    result = train(Recipe.parse(changed), tiny_faces, run, resume=True, verbose=0)
    assert result.notes[0] == (
        "Stage arcface was finished already. Changes of its recipe have no effect: training.epochs."
    )


def test_triplets_are_mined_in_a_stage(tmp_path, tables, tiny_faces):
    changed = copy.deepcopy(tables)
    changed["stage"][1] |= {
        "head": {"name": "none"}, "loss": [LISTED], "mining": {"every_steps": 2},
        "training": {"batch_size": 12, "epochs": 2},
    }  # fmt: skip
    recipe = Recipe.parse(changed)
    stopped(recipe, tiny_faces, tmp_path / "run", 6)
    result = train(recipe, tiny_faces, tmp_path / "run", resume=True, verbose=0)
    assert result.epochs == 2
    assert len(list((tmp_path / "run" / "mining").iterdir())) == 2
