"""Starting from trained weights: the same embedding at first, frozen layers, rates of layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.training import Recipe, train
from gfkeras.training.build import build_classifier, build_model

IMAGES = np.random.default_rng(5).integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)


def embed(model):
    output = model(IMAGES)
    output = output["embedding"] if isinstance(output, dict) else output
    return keras.ops.convert_to_numpy(output)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A folder with a backbone that has other statistics and another epsilon than the defaults."""
    keras.utils.set_random_seed(1)
    model = gfkeras.backbones.MobileFaceNet(
        16, width=0.0625, bottlenecks=SMALL_BOTTLENECKS, bn_epsilon=2e-4, bn_momentum=0.5
    )
    for _ in range(3):
        model(IMAGES, training=True)
    return model.save_to(tmp_path_factory.mktemp("init") / "backbone")


@pytest.fixture
def tables(tiny_recipe, backbone):
    """A recipe that starts from this backbone."""
    tiny_recipe["model"] = {"init": str(backbone), "num_groups": 3, "group_dim": 8, "mode": "hard"}
    tiny_recipe["training"]["epochs"] = 1
    tiny_recipe["data"] = {}
    return tiny_recipe


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_the_first_embedding_is_the_backbones(tables, backbone, mode):
    tables["model"]["mode"] = mode
    model = build_model(Recipe.parse(tables).model)
    assert (model.embedding_dim, model.num_groups, model.mode) == (16, 3, mode)
    np.testing.assert_allclose(embed(model), embed(gfkeras.load(backbone)), atol=1e-6)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_network_without_batch_normalization(mode):
    network = gfkeras.backbones.SphereFaceNet4(16, width=0.0625, input_shape=(112, 112, 3))
    network.get_layer("embedding_fc").bias.assign(np.linspace(-1, 1, 16))
    model = gfkeras.GroupFace.from_backbone(network, num_groups=4, mode=mode, bn_epsilon=0.1)
    np.testing.assert_allclose(embed(model), embed(network), atol=1e-6)


def test_a_real_network_too(shared_data):
    network = gfkeras.zoo.import_weights(shared_data / "models/mobilefacenet_ms1m-0000.params")
    model = gfkeras.GroupFace.from_backbone(network, num_groups=4, mode="hard")
    np.testing.assert_allclose(embed(model), embed(network), atol=1e-5)
    assert model.embedding_dim == 128


def test_a_groupface_is_trained_further(tables, tmp_path):
    folder = build_model(Recipe.parse(tables).model).save_to(tmp_path / "groupface")
    tables["model"] = {"init": str(folder), "mode": "soft"}
    model = build_model(Recipe.parse(tables).model)
    assert (model.num_groups, model.mode) == (3, "soft")
    np.testing.assert_array_equal(embed(model), embed_soft(folder))
    # Other groups start fresh, at zero.
    tables["model"]["num_groups"] = 5
    other, start = started(tables)
    assert start.taken == ("backbone", "instance_fc", "instance_bn")
    assert start.fresh == ("group_decision", "group_ensemble")
    instance = keras.ops.convert_to_numpy(model(IMAGES)["instance"])
    np.testing.assert_allclose(embed(other), instance, atol=1e-6)


def started(tables):
    starts = []
    return build_model(Recipe.parse(tables).model, starts), *starts


@pytest.mark.parametrize(
    ("change", "taken", "fresh"),
    [
        ({}, "instance_fc instance_bn", "group_decision group_ensemble"),
        (
            {"shared_dim": 24},
            "",
            "shared_fc shared_bn instance_fc instance_bn group_decision group_ensemble",
        ),
        ({"embedding_dim": 24}, "", "instance_fc instance_bn group_decision group_ensemble"),
    ],
)
def test_layers_of_a_backbone_that_fit_are_taken(tables, backbone, change, taken, fresh):
    given = {"backbone": {"name": "MobileFaceNet", "bottlenecks": SMALL_BOTTLENECKS}}
    tables["model"] |= change | given
    model, start = started(tables)
    assert start.taken == ("backbone", *taken.split())
    assert start.fresh == tuple(fresh.split())
    assert start.same_embedding == (not change)
    for key, value in {"num_groups": 3, "mode": "hard", "embedding_dim": 16, **change}.items():
        assert getattr(model, key) == value
    theirs = gfkeras.load(backbone)
    for layer in model.backbone.layers:
        for ours, wanted in zip(
            layer.get_weights(), theirs.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize(
    ("change", "taken", "fresh"),
    [
        ({"combine": "concat", "mode": "soft"}, "shared instance group_decision ensemble", ""),
        ({"group_dim": 6}, "shared instance", "group_decision ensemble"),
        ({"embedding_dim": 12}, "shared", "instance group_decision ensemble"),
        ({"shared_dim": 20}, "", "shared instance group_decision ensemble"),
        ({"shared_dim": "none"}, "", "instance group_decision ensemble"),
    ],
)
def test_layers_of_a_groupface_that_fit_are_taken(tables, tmp_path, change, taken, fresh):
    tables["model"]["shared_dim"] = 24
    source = build_model(Recipe.parse(tables).model)
    tables["model"] = {"init": str(source.save_to(tmp_path / "source")), **change}
    model, start = started(tables)

    def parts(text):
        names = {
            "shared": ("shared_fc", "shared_bn"),
            "instance": ("instance_fc", "instance_bn"),
            "ensemble": ("group_ensemble",),
        }
        return tuple(name for part in text.split() for name in names.get(part, (part,)))

    assert (start.taken, start.fresh) == (("backbone", *parts(taken)), parts(fresh))
    ours, theirs = weights(model), weights(source)
    equal = {
        name
        for name in ours
        if [w.shape for w in ours[name]] == [w.shape for w in theirs[name]]
        and not changed({name: ours[name]}, {name: theirs[name]})
    }
    assert {*start.taken} - {"backbone"} <= equal


def embed_soft(folder):
    model = gfkeras.load(folder)
    model.mode = "soft"
    return embed(model)


def test_a_backbone_is_trained_further(tables, backbone):
    tables["model"] = {"name": "Backbone", "init": str(backbone), "embedding_dim": 16}
    tables["loss"] = []
    np.testing.assert_array_equal(
        embed(build_model(Recipe.parse(tables).model)), embed(gfkeras.load(backbone))
    )


def weights(model):
    """Returns copies of the weights by the layer names of `freeze`."""
    from gfkeras.training.starting import named_layers

    return {
        name: [keras.ops.convert_to_numpy(w).copy() for w in layer.weights]
        for name, layer in named_layers(model)
        if name != "backbone"
    }


def changed(before, after):
    return {
        name
        for name in before
        if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))
    }


def test_training_leaves_frozen_layers_as_they_are(tables, tiny_faces, tmp_path):
    tables["model"]["freeze"] = ["backbone/stage*", "instance_*"]
    before = weights(build_model(Recipe.parse(tables).model))
    result = train(Recipe.parse(tables), tiny_faces, tmp_path / "run", verbose=0)
    moved = changed(before, weights(gfkeras.load(result.last)))
    # Frozen layers include the statistics of batch normalisation, which have no gradient.
    assert moved == {
        name for name in before if not name.startswith(("backbone/stage", "instance_"))
    }


def test_a_run_with_init_resumes(tables, tiny_faces, tmp_path):
    tables["model"]["freeze"] = ["backbone"]
    tables["training"]["epochs"] = 2
    recipe = Recipe.parse(tables)
    whole = train(recipe, tiny_faces, tmp_path / "whole", verbose=0)
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (_ for _ in ()).throw(KeyboardInterrupt())
    )
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tiny_faces, tmp_path / "cut", verbose=0, callbacks=[stop])
    again = train(recipe, tiny_faces, tmp_path / "cut", verbose=0, resume=True)
    assert again.epochs == 2
    ours, theirs = (weights(gfkeras.load(result.last)) for result in (again, whole))
    assert changed(ours, theirs) == set()


def test_layers_learn_at_their_own_rates(tables):
    tables["optimizer"] = {"name": "SGD", "learning_rate": 0.01, "momentum": 0.0}
    tables["schedule"] = {}
    moves = {}
    factors = {"backbone": 0.1, "backbone/stem_*": 0.5, "head": 2.0}
    for given in ({}, factors):
        tables["optimizer"]["learning_rate_factors"] = given
        keras.utils.set_random_seed(7)
        classifier = build_classifier(Recipe.parse(tables), num_classes=6, steps_per_epoch=1)
        names = dict(zip(map(id, classifier.trainable_variables), _paths(classifier), strict=True))
        before = [keras.ops.convert_to_numpy(v).copy() for v in classifier.trainable_variables]
        classifier.train_on_batch(IMAGES, np.arange(6))
        moves[bool(given)] = {
            names[id(v)]: keras.ops.convert_to_numpy(v) - b
            for v, b in zip(classifier.trainable_variables, before, strict=True)
        }
    for name, plain in moves[False].items():
        factor = 1.0
        if name.startswith("head"):
            factor = 2.0
        elif "/stem_" in name:
            factor = 0.5
        elif name.startswith("backbone/"):
            factor = 0.1
        scale = np.abs(plain).max()
        np.testing.assert_allclose(
            moves[True][name], factor * plain, rtol=0, atol=1e-3 * scale + 1e-7, err_msg=name
        )


def _paths(classifier):
    from gfkeras.training.starting import named_layers

    found = {}
    for name, layer in named_layers(classifier.model):
        if name != "backbone":
            found |= {id(v): f"{name}/{i}" for i, v in enumerate(layer.trainable_variables)}
    found |= {id(v): "head" for v in classifier.head.trainable_variables}
    return [found[id(v)] for v in classifier.trainable_variables]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "no_such_preset"}, "`model.init` must be a preset"),
        ({"init": __file__}, "has an unknown format"),
        (
            {"backbone": {"name": "IResNet18"}},
            r"`model\.backbone\.name` must be 'MobileFaceNet', the value of `init`",
        ),
        (
            {"backbone": {"name": "MobileFaceNet", "width": 0.5}},
            r"`model\.backbone\.width` must be 0\.0625, the value of `init`",
        ),
        ({"freeze": ["backbon"]}, r"did you mean 'backbone'\?"),
    ],
)
def test_what_does_not_fit_is_named(tables, change, message):
    tables["model"] |= change
    with pytest.raises(ValueError, match=message):
        build_classifier(Recipe.parse(tables), num_classes=6, steps_per_epoch=1)


def test_rates_of_no_layer_are_refused(tables):
    tables["optimizer"]["learning_rate_factors"] = {"heads": 2.0}
    with pytest.raises(ValueError, match="did you mean 'head'"):
        build_classifier(Recipe.parse(tables), num_classes=6, steps_per_epoch=1)
    tables["optimizer"]["accumulate_steps"] = 2
    with pytest.raises(ValueError, match="accumulate_steps = 1"):
        Recipe.parse(tables)


def test_a_backbone_without_an_embedding_is_refused():
    feature = gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS)
    with pytest.raises(ValueError, match="with an embedding_dim"):
        gfkeras.GroupFace.from_backbone(feature)
