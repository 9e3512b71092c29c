"""Recipes: accepted tables, and one helpful line for each invalid one."""

from __future__ import annotations

import pytest
from processes import start_python

from gfkeras.training import Recipe
from gfkeras.training.schedules import build_schedule


def read(tmp_path, text: str, *settings: str) -> Recipe:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return Recipe.read(path, settings)


def complaint(tmp_path, text: str, *settings: str) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read(tmp_path, text, *settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_empty_recipe_is_whole(tmp_path):
    recipe = read(tmp_path, "")
    assert recipe.model.name == "GroupFace"
    assert recipe.head.name == "ArcFace"


@pytest.mark.parametrize("name", Recipe.built_in())
def test_built_in_recipes_survive_a_round_trip(name, tmp_path):
    recipe = Recipe.read(name)
    recipe.write(tmp_path / "written.toml")
    assert Recipe.read(tmp_path / "written.toml") == recipe


@pytest.mark.parametrize("name", ["groupface_r34", "groupface_mobilefacenet"])
def test_the_smaller_recipes_have_the_stages_of_the_large_one(name):
    large, small = (Recipe.read(each).in_stages() for each in ("groupface_r100", name))
    assert list(large) == list(small) == ["arcface", "groupface"]
    for theirs, ours in zip(large.values(), small.values(), strict=True):
        for table in ("head", "loss", "schedule", "training"):
            assert getattr(ours, table) == getattr(theirs, table), table
        assert ours.optimizer.weight_decay_mode == theirs.optimizer.weight_decay_mode == "l2"
        assert ours.model.num_groups == theirs.model.num_groups


def test_the_recipe_has_the_values_of_the_paper():
    recipe = Recipe.read("groupface_r100")
    first, second = recipe.in_stages().values()
    assert (first.loss, first.model.freeze, first.head) == ([], ["group_*"], recipe.head)
    assert second == recipe.model_copy(update={"stage": []})
    rates = build_schedule(recipe.schedule, recipe.optimizer.learning_rate, 1, 5000)
    found = [float(rates(step)) for step in (0, 50_000, 50_001, 70_000, 70_001, 79_999)]
    assert found == pytest.approx([5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5])
    assert (recipe.training.steps, recipe.training.batch_size) == (80_000, 8 * 128)
    assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay_mode) == (0.9, "l2")
    assert (recipe.head.arguments, recipe.loss[0].arguments["weight"]) == (
        {"scale": 64.0, "margin": 0.5},
        0.1,
    )
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (0.005, 5e-4)
    assert recipe.model.num_groups == 32
    assert recipe.model.shared_dim == 4096


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[optimizer]\nleraning_rate = 0.1",
            "Unknown key 'leraning_rate' in [optimizer]; did you mean 'learning_rate'?",
        ),
        ("[trianing]\nepochs = 3", "Unknown key 'trianing' at the top of the recipe; did you"),
        ("[head]\nname = 'ArcFace'\nmargn = 0.5", "Unknown key 'margn' in [head] for ArcFace; did"),
        ("[head]\nname = 'ArcFce'", "Unknown head 'ArcFce'; did you mean 'ArcFace'?"),
        (
            "[model.backbone]\nname = 'MobilFaceNet'",
            "Unknown backbone 'MobilFaceNet'; did you mean 'MobileFaceNet'?",
        ),
        (
            "[model.backbone]\nname = 'MobileFaceNet'\nwidht = 0.5",
            "Unknown key 'widht' in [model.backbone] for MobileFaceNet; did you mean 'width'?",
        ),
        (
            "[[loss]]\nname = 'SelfGroupingLos'",
            "Unknown loss 'SelfGroupingLos'; did you mean 'SelfGroupingLoss'?",
        ),
        (
            "[[augmentation]]\nname = 'greyscale'",
            "Unknown augmentation 'greyscale'; did you mean 'grayscale'?",
        ),
        (
            "[[augmentation]]\nname = 'crop'\n[[augmentation]]\nname = 'blur'\nsigme = 0.5",
            "Unknown key 'sigme' in [augmentation.1] for blur; did you mean 'sigma'?",
        ),
        (
            "[[augmentation]]\nname = 'color'\nseed = 5",
            "Unknown key 'seed' in [augmentation.0] for color; known: brightness_factor, con",
        ),
        ("[data]\nbrightness = 0.1", "Unknown key 'brightness' in [data]; known: amount, flip"),
        ("[optimizer]\nname = 'Adem'", "`optimizer.name` must be 'SGD', 'Adam' or 'AdamW' (did"),
    ],
)
def test_misspelt_names_get_the_nearest(tmp_path, text, expected):
    assert expected in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[optimizer]\nlearning_rate = 'fast'",
            "`optimizer.learning_rate` must be a number. Received: 'fast' (string)",
        ),
        (
            "[training]\nepochs = 2.5",
            "`training.epochs` must be an integer. Received: 2.5 (number)",
        ),
        ("[training]\nepochs = true", "`training.epochs` must be an integer. Received: true"),
        ("[training]\nepochs = 0", "`training.epochs` must be greater than 0. Received: 0"),
        ("[data]\nflip = 'yes'", "`data.flip` must be true or false. Received: 'yes'"),
        ("training = 3", "`training` must be a table. Received: 3 (integer)"),
        ("loss = 3", "`loss` must be a list. Received: 3 (integer)"),
        ("[model]\nshared_dim = 'non'", 'expected an integer of at least 1 or "none". Received'),
        ("[model]\nmode = 'heard'", "`model.mode` must be 'soft' or 'hard' (did you mean 'hard'?)"),
        ("[head]\nmargin = 0.5", "`head.name` is missing"),
        ("[schedule]\nname = 'step'", "`milestones`"),
        ("[schedule]\nname = 'step'\nmilestones = [4, 2]", "rising `milestones`"),
        ("[model]\nname = 'Backbone'\nnum_groups = 4", "`num_groups`"),
        ("[model]\nname = 'Backbone'\n[[loss]]\nname = 'SelfGroupingLoss'", "needs groups"),
        (
            "[training]\nbatch_size = 30\nimages_per_identity = 4",
            "`training`: `batch_size` must be a multiple of `images_per_identity`, for two "
            "identities or more. Received: batch_size=30, images_per_identity=4",
        ),
        ("[training]\nbatch_size = 4\nimages_per_identity = 4", "two identities or more"),
        ("[training]\nimages_per_identity = 0", "`training.images_per_identity` must be greater"),
        ("[[augmentation]]\nfactor = 0.1", "`augmentation.0.name` is missing"),
        ("[augmentation]\nname = 'crop'", "`augmentation` must be a list"),
        (
            "[[augmentation]]\nname = 'crop'\nscale = [0.5, 2.0]",
            "`augmentation.0`: crop: `scale` must be two numbers, 0 < low ≤ high ≤ 1. Received: s",
        ),
        (
            "[[augmentation]]\nname = 'color'\nhue_factor = 2.0",
            "`augmentation.0`: color: The `factor` argument should be a number (or a list of two",
        ),
        ("[[augmentation]]\nname = 'zoom'", "`augmentation.0`: zoom needs `height_factor`"),
        ("seed = -1", "`seed` must be greater than or equal to 0. Received: -1"),
        ("dtype_policy = 'float16'", "`dtype_policy` must be 'float32'"),
    ],
)
def test_wrong_values_say_what_was_expected(tmp_path, text, expected):
    message = complaint(tmp_path, text)
    assert expected in message
    assert "my.toml" in message


def test_several_findings_are_counted(tmp_path):
    assert "(and 1 more)" in complaint(tmp_path, "seed = 'a'\n[training]\nepochs = 'b'")


def test_a_folder_does_not_hide_a_built_in_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orl").mkdir()
    assert Recipe.read("orl").head.name == "ArcFace"


def test_not_toml_and_not_there(tmp_path):
    assert "not valid TOML" in complaint(tmp_path, "seed = ")
    with pytest.raises(ValueError, match="does not exist"):
        Recipe.read(tmp_path / "missing.toml")
    with pytest.raises(ValueError, match="is a folder"):
        Recipe.read(tmp_path)
    with pytest.raises(ValueError, match="Unknown recipe 'orll'; did you mean 'orl'"):
        Recipe.read("orll")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        Recipe.read(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 3000) + " = 1",
        f"[{'.'.join('a' * 3000)}]",
        f"a = {'[' * 3000}",
        "a=" + "[" * 60 + "]" * 60,
    ],
)
def test_deep_tables_lists_and_settings(tmp_path, text):
    assert "nested too deep" in complaint(tmp_path, text)
    if not text.startswith("["):
        with pytest.raises(ValueError, match="nested too deep"):
            Recipe.read("orl", settings=[text])


def test_settings(tmp_path):
    recipe = read(
        tmp_path,
        "[[loss]]\nname = 'SelfGroupingLoss'",
        "training.epochs=3",
        "loss.0.weight = 0.2",
        "optimizer.name=AdamW",
        'schedule.name="step"',
        "schedule.milestones=[1, 2.5]",
        "data.flip=false",
        "model.shared_dim=none",
        "seed=7",
    )
    assert recipe.training.epochs == 3
    assert recipe.loss[0].arguments == {"weight": 0.2}
    assert recipe.optimizer.name == "AdamW"
    assert recipe.schedule.milestones == [1, 2.5]
    assert recipe.data.flip is False
    assert recipe.model.group_arguments["shared_dim"] is None
    assert recipe.seed == 7


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs", "must look like a.b=value"),
        ("=3", "must look like a.b=value"),
        ("training.epoch=3", "Unknown key 'epoch' in [training]; did you mean 'epochs'?"),
        ("training.epochs=three", "must be an integer. Received: 'three'"),
        ("loss.1.weight=3", "`loss` has 1 entries, counted from 0"),
        ("seed.x=3", "`seed` is a value, not a table"),
    ],
)
def test_wrong_settings(tmp_path, setting, expected):
    text = "seed = 1\n[[loss]]\nname = 'SelfGroupingLoss'"
    assert expected in complaint(tmp_path, text, setting)


@pytest.mark.slow
def test_reading_a_recipe_claims_no_device():
    # A program can still set up its devices or its cluster after it has read a recipe.
    code = (
        "import keras\n"
        "from gfkeras.training import Recipe\n"
        "Recipe.parse({'augmentation': [{'name': 'rand_augment'}, {'name': 'crop'}]})\n"
        "if keras.backend.backend() == 'jax':\n"
        "    import jax\n"
        "    jax.config.update('jax_num_cpu_devices', 2)\n"
        "else:\n"
        "    import tensorflow as tf\n"
        "    cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "    two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "    tf.config.set_logical_device_configuration(cpu, two)\n"
    )
    status, _, error = start_python(code, forked=True).wait()
    assert status == 0, error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[optimizer]\nweight_decay_mode='L2'", "`optimizer.weight_decay_mode` must be"),
        ("[optimizer]\nclipnorm=1.0\nclipvalue=1.0", "expected one of `clipnorm`, `global_clipn"),
        ("[optimizer]\naccumulate_steps=0", "`optimizer.accumulate_steps` must be"),
        ("[head]\nname='PartialFC'\nsample_rat=0.1", "did you mean 'sample_rate'"),
        ("[head]\nname='PartialFC'\nhead='CosFce'", "did you mean 'CosFace'"),
        (
            "[head]\nname='PartialFC'\nhead='CosFace'\nhead_arguments={margn=0.2}",
            "did you mean 'margin'",
        ),
        ("[head]\nname='PartialFC'\nbatch_size=3", "Unknown key 'batch_size'"),
        (
            "[head]\nname='PartialFC'\n[optimizer]\naccumulate_steps=2",
            "`optimizer.accumulate_steps` must be 1 with the head PartialFC",
        ),
        (
            "[head]\nname='PartialFC'\n[[loss]]\nname='IntraLoss'",
            "IntraLoss takes all centers, but PartialFC",
        ),
    ],
)
def test_arguments_that_partial_fc_refuses(text, expected, tmp_path):
    assert expected in complaint(tmp_path, text)
