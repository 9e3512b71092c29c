"""Grid files: their rows, and error messages of one line."""

from __future__ import annotations

import re
import tomllib

import pytest
from small_networks import SMALL_BACKBONE

from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.experiments.ablation import Grid
from gfkeras.experiments.ablation.axes import AXES
from gfkeras.training import Recipe

RECIPE = {
    "data": {"holdout_identities": 2},
    "model": {
        "embedding_dim": 16, "num_groups": 8, "shared_dim": "none", "backbone": SMALL_BACKBONE,
    },
    "head": {"name": "ArcFace", "scale": 16.0},
    "loss": [{"name": "SelfGroupingLoss", "weight": 0.5}],
    "optimizer": {
        "name": "AdamW", "learning_rate_factors": {"group_ensemble": 0.1, "backbone": 0.5},
    },
    "training": {"epochs": 2, "batch_size": 8},
}  # fmt: skip


def rows(*tables, **more):
    return Grid.parse({"recipe": RECIPE, "row": list(tables), **more}).rows


def row(**changes):
    return rows({"name": "it", **changes})[0]


def trainings(found) -> list[int]:
    """Rows with the same number share a training."""
    names = [each.training("data") for each in found]
    return [names.index(name) for name in names]


def test_without_groups_all_their_settings_are_removed():
    recipe = row(groups="none").recipe
    assert recipe.model.name == "Backbone"
    assert recipe.model.embedding_dim == 16
    assert recipe.model.backbone.arguments["width"] == SMALL_BACKBONE["width"]
    assert recipe.loss == []
    assert recipe.optimizer.learning_rate_factors == {"backbone": 0.5}


def test_keywords_change_the_recipe():
    assert row(groups=4).recipe.model.num_groups == 4
    assert row(labels="none").recipe.loss == []
    assert row(labels="naive").recipe.loss[0].arguments == {"weight": 0.5, "labeling": "naive"}
    model = row(mode="hard").recipe.model
    assert (model.mode, model.hard_gradient) == ("hard", "stopped")
    model = row(mode="straight-through").recipe.model
    assert (model.mode, model.hard_gradient) == ("hard", "straight-through")
    assert row(combine="concat").recipe.model.combine == "concat"
    # Another class gets its own defaults. The same class keeps its arguments.
    assert row(head="CosFace").recipe.head.arguments == {}
    assert row(head={"margin": 0.2}).recipe.head.arguments == {"scale": 16.0, "margin": 0.2}
    assert row(backbone="IResNet34").recipe.model.backbone.arguments == {}


def test_labels_bring_the_loss_that_a_recipe_without_it_lacks():
    found = Grid.parse(
        {"recipe": {**RECIPE, "loss": []}, "row": [{"name": "it", "labels": "naive"}]}
    )
    assert [loss.name for loss in found.rows[0].recipe.loss] == ["SelfGroupingLoss"]


def test_removing_a_teacher_removes_its_losses():
    recipe = {**RECIPE, "teacher": {"model": "runs/t"},
              "loss": [*RECIPE["loss"], {"name": "CosineDistillationLoss"}]}  # fmt: skip
    grid = Grid.parse({"recipe": recipe, "row": [{"name": "alone", "teacher": "none"}]})
    assert grid.rows[0].recipe.teacher is None
    assert [loss.name for loss in grid.rows[0].recipe.loss] == ["SelfGroupingLoss"]


def test_scoring_needs_no_training():
    found = rows(
        {"name": "base"},
        {"name": "hard from soft", "mode": "soft-to-hard"},
        {"name": "v", "representation": "instance"},
        {"name": "aware", "similarity": "group-aware"},
        {"name": "beta", "beta": 0.2, "gamma": 0.5},
        {"name": "the default written out", "combine": "add", "mode": "soft", "head": "ArcFace"},
        {"name": "another", "combine": "concat"},
    )
    assert trainings(found) == [0, 0, 0, 0, 0, 0, 6]
    assert found[0].scoring.similarity == COSINE
    assert found[1].scoring.mode == "hard"
    assert found[2].scoring.representation == "instance"
    assert found[3].scoring.similarity == GROUP_AWARE
    assert found[4].scoring.similarity == Similarity(0.2, 0.5)
    assert found[0].training("other data") != found[0].training("data")


def test_recipe_keys_are_axes_too():
    quoted, nested = rows(
        {"name": "a", "training.epochs": 5, "optimizer.learning_rate": 0.1},
        {"name": "b", "training": {"epochs": 5}, "optimizer": {"learning_rate": 0.1}},
    )
    assert quoted.recipe == nested.recipe
    assert quoted.recipe.training.epochs == 5


def test_one_at_a_time_and_product():
    axes = {"groups": [4, 8], "mode": ["soft", "hard"]}
    around = Grid.parse({"recipe": RECIPE, "axes": axes})
    assert [(r.section, r.name) for r in around.rows] == [
        ("", "base"), ("groups", "groups 4"), ("groups", "groups 8"), ("mode", "mode soft"),
        ("mode", "mode hard"),
    ]  # fmt: skip
    # The base is 8 groups, soft.
    assert trainings(around.rows) == [0, 1, 0, 0, 4]
    product = Grid.parse({"recipe": RECIPE, "axes": axes, "design": "product"})
    assert [r.name for r in product.rows] == [
        "groups 4, mode soft", "groups 4, mode hard", "groups 8, mode soft", "groups 8, mode hard",
    ]  # fmt: skip
    assert trainings(product.rows) == [0, 1, 2, 3]


def test_base_and_settings_come_before_rows(tmp_path):
    path = tmp_path / "grid.toml"
    (tmp_path / "mine.toml").write_text('[model]\nname = "GroupFace"\nnum_groups = 2\n')
    path.write_text(
        'recipe = "mine.toml"\nseeds = [3, 4]\n[base]\nmode = "hard"\n'
        '[[row]]\nname = "a"\n[[row]]\nname = "b"\nmode = "soft"\ntraining.epochs = 9\n'
    )
    grid = Grid.read(path, ["training.epochs=1", "model.num_groups=3"])
    assert [r.recipe.model.mode for r in grid.rows] == ["hard", "soft"]
    assert [r.recipe.training.epochs for r in grid.rows] == [1, 9]
    assert grid.rows[0].recipe.model.num_groups == 3
    assert grid.seeds == (3, 4)
    again = tmp_path / "again.toml"
    again.write_text(grid.text)
    assert trainings([*grid.rows, *Grid.read(again).rows]) == [0, 1, 0, 1]


def test_rows_by_name_and_number():
    grid = Grid.parse({"recipe": RECIPE, "row": [{"name": n} for n in ("a", "b", "c, d", "e")]})
    assert [r.number for r in grid.select(["c, d", "1"])] == [1, 3]
    assert [r.number for r in grid.select(["2-3,4"])] == [2, 3, 4]
    with pytest.raises(ValueError, match=r"from 1 to 4. Received: '5'"):
        grid.select(["5"])
    with pytest.raises(ValueError, match=r"Unknown row 'c,d'; did you mean 'c, d'"):
        grid.select(["c,d"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"group": 4}, r"row 'it': Unknown axis 'group'; did you mean 'groups'\?"),
        ({"traning.epochs": 4}, r"Unknown axis 'traning.epochs'; did you mean 'training'\?"),
        ({"training.epoch": 4}, r"row 'it': recipe: Unknown key 'epoch' .*did you mean 'epochs'"),
        ({"labels": "naiv"}, r"`labels` must be one of .*did you mean 'naive'"),
        ({"groups": 0}, r"`groups` must be an integer of at least 1. Received: groups=0"),
        ({"groups": "none", "mode": "hard"}, r"`mode` needs groups. Received: mode='hard'"),
        ({"groups": "none", "representation": "group"}, r"without groups cannot be scored"),
        ({"representation": "v"}, r"`representation` must be one of 'both', 'instance', 'group'"),
        ({"beta": -1}, r"`beta` must be finite and at least 0. Received: beta=-1"),
        ({"head": "ArcFase"}, r"Unknown head 'ArcFase'; did you mean 'ArcFace'"),
        ({"head": 3}, r"`head` must be a name, or a table .* Received: 3"),
        ({"backbone": {"widht": 2}}, r"Unknown key 'widht' .*did you mean 'width'"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(table, message):
    with pytest.raises(ValueError, match=message) as found:
        row(**table)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"row": []}, r"grid: a grid needs a \[\[row\]\] or \[axes\]"),
        ({"rows": []}, r"Unknown key 'rows' at the top of the grid; did you mean 'row'"),
        ({"row": [{"name": "a"}, {"name": "a"}]}, r"different names. Received: 'a' twice"),
        ({"row": [{"groups": 3}]}, r"`row.0.name` is missing"),
        ({"axes": {"goups": [1]}}, r"Unknown axis 'goups'; did you mean 'groups'"),
        ({"axes": {"groups": []}}, r"`groups` must list at least one value"),
        ({"design": "factorial"}, r"`design` must be 'one-at-a-time' or 'product'"),
        ({"seeds": [-1]}, r"`seeds.0` must be greater than or equal to 0"),
        ({"row": [{"name": "abc"}], "reference": "abd"}, r"Unknown reference 'abd'; did you mean"),
        ({"recipe": {"training": {"epoch": 1}}}, r"grid, \[recipe\]: Unknown key 'epoch'"),
        ({"recipe": "oral"}, r"Unknown recipe 'oral'; did you mean 'orl'"),
    ],
)  # fmt: skip
def test_a_wrong_grid_says_what_is_wrong(changed, message):
    with pytest.raises(ValueError, match=message) as found:
        Grid.parse({"recipe": RECIPE, **changed})
    assert "\n" not in str(found.value)


def test_invalid_grid_files(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown grid 'papr'; did you mean 'paper'"):
        Grid.read("papr")
    with pytest.raises(ValueError, match=r"`grid` must be a TOML file .* does not exist"):
        Grid.read(tmp_path / "no.toml")
    (tmp_path / "grid.toml").write_text("recipe = ")
    with pytest.raises(ValueError, match=r"grid.toml is not valid TOML"):
        Grid.read(tmp_path / "grid.toml")


@pytest.mark.parametrize("name", Grid.built_in())
def test_built_in_grids(name):
    grid = Grid.read(name)
    assert len(grid.seeds) == 3
    shared = set(trainings(grid.rows))
    # Only the amount of data has no rows that differ just in their scores.
    assert 1 < len(shared) < len(grid.rows) + (name == "data-amount")


def test_the_papers_grid_has_the_papers_ablations():
    grid = Grid.read("paper")
    recipes = {row.name: row.recipe for row in grid.rows}
    assert {recipes[f"{k} groups"].model.num_groups for k in (4, 16, 32)} == {4, 16, 32}
    assert {r.model.backbone.name for r in recipes.values()} == {
        "IResNet100", "IResNet34", "MobileFaceNet",
    }  # fmt: skip
    assert {"ArcFace", "CosFace"} == {r.head.name for r in recipes.values()}
    scorings = [row.scoring for row in grid.rows]
    assert {s.representation for s in scorings} == {"both", "instance", "group"}
    assert {s.mode for s in scorings} == {None, "hard"}
    assert any(s.similarity == GROUP_AWARE for s in scorings)
    # Rows that change only the evaluation share the training of the paper's network.
    paper = next(row for row in grid.rows if row.name == "GroupFace").training("")
    assert all(row.training("") == paper for row in grid.rows if row.scoring.needs_groups)


def test_every_keyword_is_documented(pytestconfig):
    page = (pytestconfig.rootpath / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert [word for word in AXES if f"`{word}`" not in page] == []


def test_the_grid_on_the_docs_page(pytestconfig):
    page = (pytestconfig.rootpath / "docs" / "ablations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    grid = Grid.parse(tomllib.loads(block))
    assert grid.reference == "without groups"
    assert grid.rows[1].scoring.similarity == GROUP_AWARE
    assert {row.recipe.training.epochs for row in grid.rows} == {10}


def test_the_ladder_ends_at_the_recipe_of_the_bundled_model(pytestconfig):
    root = pytestconfig.rootpath
    ladder = Grid.read(root / "examples" / "zoo_ladder.toml")
    box = Recipe.read(root / "zoo" / "h_groupface_mobilefacenet" / "recipe.toml")
    last = ladder.rows[-1].recipe
    assert last.model_dump(exclude={"training"}) == box.model_dump(exclude={"training"})
    assert last.training.epochs == 3
    assert trainings(ladder.rows) == [0, 1, 1, 3, 3, 5, 5]
    assert all(row.recipe.teacher is None for row in ladder.rows[:5])


def test_rows_change_the_stages_of_a_recipe_too():
    stages = [
        {"name": "first", "loss": [], "head": {"name": "NormSoftmax", "scale": 4.0}},
        {"name": "second", "training": {"epochs": 5}},
    ]
    recipe = {**RECIPE, "stage": stages}
    first, second = rows(
        {"name": "scale", "head.scale": 8.0}, {"name": "steps", "training.steps": 9}, recipe=recipe
    )
    assert [each.head.arguments["scale"] for each in first.recipe.in_stages().values()] == [8, 8]
    assert [each.training.steps for each in second.recipe.in_stages().values()] == [9, 9]
