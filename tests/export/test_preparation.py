"""Preparation steps: the embeddings stay, and the steps leave only the expected layers."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest

from gfkeras.backbones import IResNet18, MobileFaceNet
from gfkeras.export import prepare
from gfkeras.export.preparation import INTEGER_STEPS, STEPS, NotRewritable, flattened
from gfkeras.export.preparation.channels import (
    ChannelScale,
    ChannelShift,
    fold_channels,
    open_batch_norms,
    open_input_normalization,
)
from gfkeras.export.preparation.equalization import equalize, observe_channels
from gfkeras.export.preparation.rewrites import (
    drop_training_layers,
    fix_flattening,
    flush_denormals,
    rewrite_prelus,
)
from gfkeras.layers import BatchNormalization, MaxPReLU
from gfkeras.models import GroupFace

SHAPE = (32, 32, 3)
# Each kind of bottleneck once: with a stride, with a shortcut, and with more channels.
BOTTLENECKS = ((64, 64, 1, 2), (64, 64, 2, 1), (128, 128, 1, 2))
BACKBONES = {
    "paper": lambda dim: MobileFaceNet(
        dim, width=0.125, bottlenecks=BOTTLENECKS, input_shape=SHAPE
    ),
    "insightface": lambda dim: MobileFaceNet(
        dim, variant="insightface", width=0.125, bottlenecks=BOTTLENECKS, input_shape=SHAPE
    ),
    "iresnet": lambda dim: IResNet18(dim, input_shape=SHAPE, dropout=0.4),
}
TOLERANCE = 1e-5


def unit(embedding) -> np.ndarray:
    rows = np.asarray(embedding, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def difference(model: keras.Model, prepared: keras.Model, images: np.ndarray) -> float:
    """Returns the largest difference of normalised outputs.

    Outputs except embeddings count a fifth.
    """
    expected, found = model(images, training=False), prepared(images, training=False)
    if not isinstance(expected, dict):
        expected = {"embedding": expected}
    return max(
        np.abs(unit(expected[key]) - unit(found[key])).max() / (1 if key == "embedding" else 5)
        for key in found
    )


def kinds(model: keras.Model) -> Counter:
    return Counter(type(layer) for layer in model.layers)


@pytest.fixture(scope="module")
def trained(as_trained, images):
    """Each backbone once, with statistics and slopes like after training."""
    keras.utils.set_random_seed(7)
    return {name: as_trained(make(16), images) for name, make in BACKBONES.items()}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("steps", [STEPS, INTEGER_STEPS], ids=["float", "integer"])
def test_embeddings_stay(trained, images, name, steps):
    before = [weight.copy() for weight in trained[name].get_weights()]
    prepared = prepare(trained[name], steps=steps)
    assert difference(trained[name], prepared, images) <= TOLERANCE
    for old, new in zip(before, trained[name].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "step",
    [drop_training_layers, fix_flattening, open_batch_norms, open_input_normalization,
     fold_channels, rewrite_prelus, flush_denormals],
)  # fmt: skip
# All steps together have every backbone in `test_embeddings_stay`.
@pytest.mark.parametrize("name", ["insightface", pytest.param("iresnet", marks=pytest.mark.slow)])
def test_each_step_alone(trained, images, name, step):
    assert difference(trained[name], prepare(trained[name], steps=[step]), images) <= TOLERANCE


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize(
    ("combine", "shared_dim"), [("add", None), ("concat", 16), ("add", 64), ("concat", None)]
)
def test_groupface(make_model, images, mode, combine, shared_dim):
    model = make_model(combine=combine, shared_dim=shared_dim)
    model.mode = mode
    prepared = prepare(model, mode)
    assert set(prepared.output) == {"embedding", "group_feature", "group_logits"}
    assert difference(model, prepared, images) <= TOLERANCE


def test_trunk_of_iresnet_enters_every_group(images):
    """The group FCs must take its last batch normalisation, because no other layer can."""
    keras.utils.set_random_seed(8)
    backbone = IResNet18(input_shape=SHAPE)
    model = GroupFace(backbone, embedding_dim=16, num_groups=3, shared_dim=None)
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(3):
        model(images, training=True)
    rng = np.random.default_rng(8)
    trunk = backbone.get_layer("trunk_bn")
    trunk.gamma.assign(rng.uniform(0.5, 1.5, trunk.gamma.shape))
    trunk.beta.assign(rng.normal(0, 0.3, trunk.beta.shape))
    for mode in ("soft", "hard"):
        model.mode = mode
        prepared = prepare(model, mode)
        assert difference(model, prepared, images) <= TOLERANCE
        assert kinds(prepared)[ChannelScale] == 0


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_after_preparation(trained, name):
    slopes = sum(isinstance(layer, keras.layers.PReLU) for layer in trained[name].layers)
    for steps, activation in ((STEPS, keras.layers.PReLU), (INTEGER_STEPS, MaxPReLU)):
        left = Counter()
        for kind, number in kinds(prepare(trained[name], steps=steps)).items():
            left["slopes" if issubclass(kind, activation) else kind] += number
        assert left[BatchNormalization] == left[keras.layers.BatchNormalization] == 0
        assert left[keras.layers.Dropout] == left[keras.layers.Activation] == 0
        assert left[ChannelScale] == 0
        assert left["slopes"] == slopes > 8
        # These shifts stay: the grey of the input, shifts before grouped convolutions, which have
        # no bias, and shifts before convolutions that pad.
        assert left[ChannelShift] == {"paper": 1, "insightface": 2, "iresnet": 9}[name]


def test_slopes_over_one_are_turned(trained):
    """With max(x, α·x), slopes above 1 are right only if the signs of these channels change."""
    network = flattened(trained["paper"])
    slopes = [node.weights[0] for node in network if issubclass(node.layer, keras.layers.PReLU)]
    assert any((each > 1).any() for each in slopes)
    assert any((each < 0).any() for each in slopes)
    kernel = flattened(prepare(trained["paper"])).nodes["stem_conv"].weights[0]
    turned = flattened(prepare(trained["paper"], steps=INTEGER_STEPS))
    signs = np.sign(kernel * turned.nodes["stem_conv"].weights[0]).reshape(-1, kernel.shape[-1])
    steep = network.nodes["stem_prelu"].weights[0].reshape(-1) > 1
    assert ((signs.sum(axis=0) < 0) == steep).all()


@pytest.mark.parametrize("gamma", [0.0, 1e-6])
def test_a_dead_channel_before_padding(gamma, images):
    """β/γ would divide by zero or shift the channel out of float32's precision."""
    given = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(given)
    bn = keras.layers.BatchNormalization(name="bn")
    x = keras.layers.Conv2D(5, 3, padding="same")(bn(x))
    model = keras.Model(given, keras.layers.Flatten()(x))
    bn.gamma.assign([1.0, gamma, 0.5, 2.0])
    bn.beta.assign([0.3, 0.7, -0.2, 0.1])
    bn.moving_mean.assign([20.0, 30.0, -10.0, 5.0])
    bn.moving_variance.assign([90.0, 50.0, 400.0, 10.0])
    assert difference(model, prepare(model), images) <= TOLERANCE


def test_a_batch_normalisation_before_a_branch_stays(images):
    """A batch normalisation with a second reader that is not linear cannot be folded."""
    given = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(given)
    x = keras.layers.BatchNormalization(beta_initializer="ones", gamma_initializer="ones")(x)
    x = keras.layers.Add()([keras.layers.Conv2D(4, 1)(x), keras.layers.ReLU()(x)])
    model = keras.Model(given, keras.layers.Flatten()(x))
    assert difference(model, prepare(model), images) <= TOLERANCE


def test_a_sign_before_an_output_stays(images):
    """After a shift that is an output, no kernel could undo the sign."""
    given = keras.Input(SHAPE)
    slopes = keras.layers.PReLU(shared_axes=[1, 2])
    x = slopes(keras.layers.Conv2D(4, 3, strides=4)(given))
    # The batch normalisation is only a shift, because its variance is 1.
    bn = keras.layers.BatchNormalization(scale=False, epsilon=0.0)
    shifted = keras.layers.Flatten()(bn(x))
    model = keras.Model(
        given, {"embedding": shifted, "group_feature": keras.layers.Conv2D(4, 1)(x)}
    )
    slopes.alpha.assign(np.reshape([0.2, 2.0, -0.5, 3.0], slopes.alpha.shape))
    bn.beta.assign([1.0, -20.0, 30.0, 4.0])
    assert difference(model, prepare(model, steps=INTEGER_STEPS), images) <= TOLERANCE


def test_a_normalisation_of_another_axis_is_left(images):
    given = keras.Input(SHAPE)
    bn = keras.layers.BatchNormalization(axis=1)
    model = keras.Model(given, keras.layers.Flatten()(bn(given)))
    bn.gamma.assign(np.linspace(0.5, 2, 32))
    assert difference(model, prepare(model), images) <= TOLERANCE


def test_operations_and_shared_layers_are_kept(images):
    given = keras.Input(SHAPE)
    conv = keras.layers.Conv2D(3, 3, padding="same")
    x = conv(conv(given) / 255.0)
    left, right = keras.ops.split(x, 2, axis=1)
    x = keras.layers.Flatten()(keras.ops.concatenate([right, left], axis=1))
    model = keras.Model(given, keras.layers.Dense(8)(x))
    assert difference(model, prepare(model), images) <= TOLERANCE


def test_a_model_that_is_not_functional():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(NotRewritable, match=r"functional keras\.Model with one input"):
        prepare(Own())


def test_denormals_become_zero():
    given = keras.Input((4,))
    dense = keras.layers.Dense(2, name="dense")
    model = keras.Model(given, dense(given))
    dense.kernel.assign([[1e-31, 1.0], [1e-29, -1e-35], [0.0, 2.0], [-3.0, 1e-38]])
    kernel = np.asarray(prepare(model, steps=[flush_denormals]).get_layer("dense").kernel)
    np.testing.assert_array_equal(kernel != 0, [[0, 1], [1, 0], [0, 1], [1, 0]])


# Equalisation sees the same kinds of layers after float and after integer steps.
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(STEPS, marks=pytest.mark.slow, id="float"),
        pytest.param(INTEGER_STEPS, id="integer"),
    ],
)
def test_equalisation_is_exact_and_evens_out(trained, images, name, steps):
    network = flattened(trained[name])
    for step in steps:
        step(network)

    def unevenness():
        """Returns the range of channels between each convolution and the depthwise one after it."""
        largest = observe_channels(network, images).largest
        depthwise = [n for n in network if issubclass(n.layer, keras.layers.DepthwiseConv2D)]
        slopes = [network.nodes[node.inputs[0]] for node in depthwise]
        return [np.ptp(np.log(largest[node.inputs[0]])) for node in slopes if node.weights]

    before = unevenness()
    equalize(network, observe_channels(network, images).largest)
    assert difference(trained[name], network.model(), images) <= TOLERANCE
    if name != "iresnet":
        assert np.mean(before) > 0.5
        # All unevenness is gone, except for channels that are 30 times smaller than the largest.
        assert np.median(unevenness()) < 1e-3


def test_observed_channels(images):
    given = keras.Input(SHAPE)
    model = keras.Model(given, keras.layers.Rescaling(-2.0, name="twice")(given))
    seen = observe_channels(flattened(model), images)
    pixels = images.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(seen.largest["twice"], 2 * pixels.max(axis=0))
    np.testing.assert_allclose(seen.mean["twice"], -2 * pixels.mean(axis=0), rtol=1e-5)
