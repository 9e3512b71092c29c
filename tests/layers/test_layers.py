"""Checks of every layer, and the behaviour of the small layers."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from gfkeras.heads import HEADS
from gfkeras.layers import (
    GroupDecisionNetwork,
    GroupedConv2D,
    GroupEnsemble,
    InputNormalization,
    L2Pooling2D,
    LocalResponseNormalization,
    MaxPReLU,
)
from gfkeras.losses import SelfGroupingLoss


def inputs(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


LAYERS = {
    "InputNormalization": (lambda: InputNormalization(mean=100, scale=0.1), [(2, 4, 4, 3)]),
    "GroupedConv2D": (lambda: GroupedConv2D(8, 3, groups=2), [(2, 5, 5, 4)]),
    "L2Pooling2D": (lambda: L2Pooling2D(5), [(2, 4, 6, 3)]),
    "LocalResponseNormalization": (
        lambda: LocalResponseNormalization(3, alpha=0.5, bias=2.0),
        [(2, 4, 4, 6)],
    ),
    "MaxPReLU": (lambda: MaxPReLU(keras.initializers.Constant(0.25)), [(2, 4, 4, 3)]),
    "GroupDecisionNetwork": (
        lambda: GroupDecisionNetwork(5, hidden_dim=6, activation="tanh"),
        [(3, 8)],
    ),
    "GroupEnsemble": (
        lambda: GroupEnsemble(3, 4, mode="hard", hard_gradient="stopped"),
        [(2, 6), (2, 3)],
    ),
    **{name: (lambda name=name: HEADS[name](5), [(4, 8)]) for name in HEADS},
    "ArcFace": (lambda: HEADS["ArcFace"](5, 30, 0.3, False, True), [(4, 8)]),
    "CombinedMargin": (lambda: HEADS["CombinedMargin"](5, 30, 0.9, 0.4, 0.1, False), [(4, 8)]),
    "SphereFace": (lambda: HEADS["SphereFace"](5, 2.0, 500.0, 0.1, 2.0), [(4, 8)]),
    "SelfGroupingLoss": (
        lambda: SelfGroupingLoss(0.2, labeling="naive", expectation="ema", momentum=0.5),
        [(4, 3)],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_config_holds_every_argument_and_gives_the_same_layer(name):
    make, shapes = LAYERS[name]
    layer = make()
    arguments = inputs(*shapes)
    before = layer(*arguments)
    config = layer.get_config()
    signature = inspect.signature(type(layer).__init__).parameters
    missing = set(signature) - {"self", "kwargs"} - set(config)
    assert not missing, f"get_config lacks {missing}"
    twin = type(layer).from_config(config)
    assert twin.get_config() == config
    twin(*arguments)
    twin.set_weights(layer.get_weights())
    for a, b in zip(keras.tree.flatten(before), keras.tree.flatten(twin(*arguments)), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "name",
    sorted(
        set(LAYERS)
        - {"InputNormalization", "GroupedConv2D", "L2Pooling2D", "LocalResponseNormalization"}
        - {"MaxPReLU"}
    ),
)
def test_results_are_float32_under_any_policy(name, policy, dtype_policy):
    dtype_policy(policy)
    make, shapes = LAYERS[name]
    for result in keras.tree.flatten(make()(*inputs(*shapes))):
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        assert np.isfinite(ops.convert_to_numpy(result)).all()


def test_symbolic_and_eager_shapes_agree():
    for name, (make, shapes) in LAYERS.items():
        arguments = inputs(*shapes)
        eager = keras.tree.map_structure(lambda t: tuple(t.shape), make()(*arguments))
        symbolic = make()(*[keras.KerasTensor(a.shape, dtype="float32") for a in arguments])
        symbolic = keras.tree.map_structure(lambda t: tuple(t.shape), symbolic)
        assert eager == symbolic, name


def test_normalization_takes_bytes_and_floats_alike():
    pixels = np.array([0, 1, 127, 128, 255], "uint8").reshape(1, 1, 5, 1)
    expected = (pixels.astype("float64") - 127.5) / 127.5
    for images in (pixels, pixels.astype("float32")):
        np.testing.assert_allclose(
            ops.convert_to_numpy(InputNormalization()(images)), expected, atol=1e-7
        )


def test_normalization_does_not_round_fractions_in_mixed_precision(dtype_policy):
    # In bfloat16, 200.4 becomes 200 or 201. The result must still be the normalised 200.4.
    dtype_policy("mixed_bfloat16")
    result = InputNormalization(dtype="float32")(np.full((1, 1, 1, 1), 200.4, "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(result), (200.4 - 127.5) / 127.5, rtol=1e-5)


def test_grouped_convolution_is_one_convolution_per_group():
    rng = np.random.default_rng(1)
    layer = GroupedConv2D(6, 3, groups=2)
    images = rng.normal(size=(2, 6, 5, 4)).astype("float32")
    result = ops.convert_to_numpy(layer(images))
    kernel = ops.convert_to_numpy(layer.kernel)  # (3, 3, 2, 6)
    expected = np.zeros((2, 4, 3, 6))
    for y in range(4):
        for x in range(3):
            patch = images[:, y : y + 3, x : x + 3].astype("float64")
            for group in range(2):
                channels, filters = slice(group * 2, group * 2 + 2), slice(group * 3, group * 3 + 3)
                expected[:, y, x, filters] = np.einsum(
                    "bijc,ijcf->bf", patch[..., channels], kernel[..., filters]
                )
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_group_decision_is_bn_fc_activation_bn_fc_then_fc():
    rng = np.random.default_rng(2)
    layer = GroupDecisionNetwork(3, hidden_dim=4)
    instance = rng.normal(size=(5, 6)).astype("float32")
    layer(instance)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.2, 1.5, size=variable.shape))
    weights = {v.path.split("/", 1)[1]: ops.convert_to_numpy(v) for v in layer.variables}

    def bn(x, name):
        scale = weights[f"{name}/gamma"] / np.sqrt(weights[f"{name}/moving_variance"] + 1e-5)
        return (x - weights[f"{name}/moving_mean"]) * scale + weights[f"{name}/beta"]

    def fc(x, name):
        return x @ weights[f"{name}/kernel"].astype("float64") + weights[f"{name}/bias"]

    x = fc(bn(instance.astype("float64"), "bn1"), "fc1")
    x = np.where(x > 0, x, x * weights["prelu/alpha"])
    feature = fc(bn(x, "bn2"), "fc2")
    logits = fc(feature, "classifier")
    got_feature, got_logits = layer(instance, training=False)
    np.testing.assert_allclose(ops.convert_to_numpy(got_feature), feature, rtol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(got_logits), logits, rtol=1e-4)
