"""Every head and loss in a recipe, by name."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from pooled_network import Pooled

from gfkeras import heads, losses
from gfkeras.training import Recipe, build, train

# Only one loss uses the group logits of `Pooled`.
pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    Pooled(16, seed=1).save_to(folder)
    return str(folder)


@pytest.fixture
def tables(teacher):
    return {
        "model": {"embedding_dim": 16},
        "optimizer": {"learning_rate": 0.01},
        "training": {"epochs": 1, "batch_size": 8, "images_per_identity": 2},
        "evaluation": {"every_epochs": 5},
    }


def table(name, teacher):
    needs = "teacher_embedding" in losses.LOSSES[name].inputs
    return {"loss": [{"name": name}], **({"teacher": {"model": teacher}} if needs else {})}


def test_every_name_builds(tables, teacher, pooled):
    for head in heads.HEADS:
        classifier = build.build_classifier(Recipe.parse({**tables, "head": {"name": head}}), 6, 3)
        assert type(classifier.head) is heads.HEADS[head]
    for loss in losses.LOSSES:
        recipe = Recipe.parse({**tables, **table(loss, teacher)})
        assert type(build.build_classifier(recipe, 6, 3).extra_losses[0]) is losses.LOSSES[loss]


# Heads and losses with a state or a teacher. `models/test_extra_losses.py` trains with all.
QUICK = {"ArcFace", "PartialFC", "SphereFace", "CenterLoss", "CosineDistillationLoss"}


def by_name(names):
    return [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", by_name(heads.HEADS))
def test_every_head_by_name(name, tables, pooled, tiny_faces, tmp_path):
    recipe = Recipe.parse({**tables, "head": {"name": name}})
    result = train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    assert np.isfinite(result.metrics["loss"])
    assert Recipe.read(tmp_path / "run" / "recipe.toml") == recipe


@pytest.mark.parametrize("name", by_name(losses.LOSSES))
def test_every_loss_by_name_beside_a_head(name, tables, teacher, pooled, tiny_faces, tmp_path):
    recipe = Recipe.parse({**tables, **table(name, teacher)})
    result = train(recipe, tiny_faces, tmp_path / "run", verbose=0)
    (log,) = set(result.metrics) - {
        "loss", "identity_loss", "accuracy", "learning_rate", "seconds", "images_per_second",
        "effective_groups", "effective_groups_soft",
    }  # fmt: skip
    assert result.metrics["loss"] == pytest.approx(
        result.metrics["identity_loss"] + result.metrics[log], rel=1e-4
    )


def test_a_scale_below_cosfaces_bound_is_noted(tables, pooled, tiny_faces, tmp_path):
    for scale, noted in ((0.5, True), ("auto", False)):
        recipe = Recipe.parse({**tables, "head": {"name": "CosFace", "scale": scale}})
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            result = train(recipe, tiny_faces, tmp_path / str(scale), verbose=0)
        for texts in (result.notes, [str(warning.message) for warning in found]):
            assert noted == any("of CosFace is below CosFace's bound" in text for text in texts)
        # The recipe of the run keeps the word.
        assert Recipe.read(tmp_path / str(scale) / "recipe.toml") == recipe


def test_a_loss_alone_and_a_sum_with_weights(tables, teacher, pooled, tiny_faces, tmp_path):
    alone = {**tables, "head": {"name": "none"}, "loss": [{"name": "TripletLoss"}]}
    result = train(Recipe.parse(alone), tiny_faces, tmp_path / "alone", verbose=0)
    assert "identity_loss" not in result.metrics
    assert result.metrics["loss"] == pytest.approx(result.metrics["triplet_loss"])
    text = f"""
        [model]
        embedding_dim = 16
        [head]
        name = "CosFace"
        [[loss]]
        name = "TripletLoss"
        margin = 0.3
        mining = "hard"
        weight = 0.5
        [[loss]]
        name = "CenterLoss"
        weight = 0.01
        [[loss]]
        name = "CosineDistillationLoss"
        weight = 2.0
        [teacher]
        model = '{teacher}'
        [training]
        epochs = 1
        batch_size = 8
        images_per_identity = 4
    """
    (tmp_path / "sum.toml").write_text(text)
    recipe = Recipe.read(tmp_path / "sum.toml", ["loss.0.weight=0.25"])
    result = train(recipe, tiny_faces, tmp_path / "sum", verbose=0)
    parts = ["identity_loss", "triplet_loss", "center_loss", "cosine_distillation_loss"]
    assert result.metrics["loss"] == pytest.approx(
        sum(result.metrics[part] for part in parts), rel=1e-4
    )


def test_a_run_with_state_in_head_and_loss_resumes(tables, pooled, tiny_faces, tmp_path):
    tables |= {"head": {"name": "SphereFace"}, "loss": [{"name": "CenterLoss"}]}
    tables["training"]["epochs"] = 4
    whole = train(Recipe.parse(tables), tiny_faces, tmp_path / "whole", verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    train(Recipe.parse(tables), tiny_faces, tmp_path / "run", verbose=0, callbacks=[Stop()])
    resumed = train(Recipe.parse(tables), tiny_faces, tmp_path / "run", resume=True, verbose=0)
    for key in ("loss", "center_loss", "identity_loss"):
        assert resumed.metrics[key] == pytest.approx(whole.metrics[key], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head": {"name": "CosFce"}}, "Unknown head 'CosFce'; did you mean 'CosFace'"),
        ({"head": {"name": "CosFace", "margn": 1}}, "Unknown key 'margn' in .head. for CosFace; "),
        ({"head": {"name": "none"}}, '`head` "none" needs a ..loss.. to train with'),
        ({"head": {"name": "none", "scale": 3.0}, "loss": [{"name": "TripletLoss"}]},
         '"none" takes no arguments. Received: ..scale'),
        ({"head": {"name": "none"}, "loss": [{"name": "IntraLoss"}]},
         "`loss` IntraLoss needs the centers of a .head."),
        ({"loss": [{"name": "TripletLos"}]}, "did you mean 'TripletLoss'"),
        ({"loss": [{"name": "TripletLoss", "minning": "all"}]}, "did you mean 'mining'"),
        ({"loss": [{"name": "CenterLoss", "num_classes": 3}]}, "Unknown key 'num_classes'"),
        ({"loss": [{"name": "TripletLoss"}, {"name": "TripletLoss"}]}, "each loss once"),
        ({"loss": [{"name": "HarmonicTripletLoss"}]}, r"needs a .teacher. with the `model`"),
        ({"teacher": {"model": "x"}}, "no ..loss.. learns from it"),
        ({"teacher": {"modl": "x"}}, "did you mean 'model'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(changes, expected):
    with pytest.raises(ValueError, match=expected):
        Recipe.parse(changes)


def test_a_teacher_that_is_not_there_is_named(tables, pooled, tiny_faces, tmp_path):
    tables |= {
        "loss": [{"name": "CosineDistillationLoss"}],
        "teacher": {"model": str(tmp_path / "nothing")},
    }
    with pytest.raises(ValueError, match=r"must be a folder that save_to wrote.*nothing"):
        train(Recipe.parse(tables), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"name": "ArcFace", "margin": 4.0}, "`margin` must be in"),
        ({"name": "ArcFace", "margin": "wide"}, "`margin` must be in"),
        ({"name": "MagFace", "scale": -1}, "`scale` must be positive"),
    ],
)
def test_wrong_values_of_arguments_stop_before_the_run(
    head, expected, tables, pooled, tiny_faces, tmp_path
):
    with pytest.raises(ValueError, match=expected):
        train(Recipe.parse({**tables, "head": head}), tiny_faces, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
