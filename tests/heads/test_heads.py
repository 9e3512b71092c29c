"""Values and gradients of every head against its formula in float64, also at edge angles."""

from __future__ import annotations

import math

import head_oracles as oracle
import keras
import numpy as np
import pytest
from differentiation import finite_differences, layer_value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, JAX, few_on_jax, slow_on_jax
from keras import ops

from gfkeras import heads

CLASSES, DIMENSIONS = 6, 5


# For each name: the head, its oracle, and the oracle's arguments that get no gradient.
CASES = {
    "NormSoftmax": (lambda: heads.NormSoftmax(CLASSES), oracle.norm_softmax, {}),
    "Softmax": (lambda: heads.Softmax(CLASSES, use_bias=False), oracle.softmax, {}),
    "CosFace": (lambda: heads.CosFace(CLASSES), oracle.cosface, {}),
    "CosFace s=30 m=0.2": (
        lambda: heads.CosFace(CLASSES, 30.0, 0.2),
        oracle.cosface,
        {"scale": 30.0, "margin": 0.2},
    ),
    "ArcFace": (lambda: heads.ArcFace(CLASSES), oracle.arcface, {}),
    "ArcFace m=1.2": (lambda: heads.ArcFace(CLASSES, margin=1.2), oracle.arcface, {"margin": 1.2}),
    "ArcFace m=0": (lambda: heads.ArcFace(CLASSES, margin=0), oracle.arcface, {"margin": 0.0}),
    "ArcFace without threshold": (
        lambda: heads.ArcFace(CLASSES, threshold=False),
        oracle.arcface,
        {"threshold": False},
    ),
    "ArcFace easy": (
        lambda: heads.ArcFace(CLASSES, easy_margin=True),
        oracle.arcface,
        {"easy_margin": True},
    ),
    "CM1": (
        lambda: heads.CombinedMargin(CLASSES),
        oracle.combined,
        {"m1": 1, "m2": 0.3, "m3": 0.2},
    ),
    "CM2": (
        lambda: heads.CombinedMargin(CLASSES, m1=0.9, m2=0.4, m3=0.15),
        oracle.combined,
        {"m1": 0.9, "m2": 0.4, "m3": 0.15},
    ),
    "Combined m1=3": (
        lambda: heads.CombinedMargin(CLASSES, m1=3, m2=0.1, m3=0.05),
        oracle.combined,
        {"m1": 3, "m2": 0.1, "m3": 0.05},
    ),
    "Combined without threshold": (
        lambda: heads.CombinedMargin(CLASSES, m1=1.5, m2=0.3, m3=0, threshold=False),
        oracle.combined,
        {"m1": 1.5, "m2": 0.3, "m3": 0, "threshold": False},
    ),
    "SphereFace": (lambda: heads.SphereFace(CLASSES), oracle.sphereface, {"iteration": 0}),
    "SphereFace late": (
        lambda: heads.SphereFace(CLASSES),
        oracle.sphereface,
        {"iteration": 100_000},
    ),
    "SphereFace m=2": (
        lambda: heads.SphereFace(CLASSES, margin=2),
        oracle.sphereface,
        {"iteration": 3000, "margin": 2},
    ),
    "SphereFaceR": (
        lambda: heads.SphereFaceR(CLASSES, detach_gradient=False),
        oracle.sphereface_r,
        {},
    ),
    "SubCenterArcFace": (lambda: heads.SubCenterArcFace(CLASSES), oracle.subcenter, {}),
    "SubCenterArcFace softmax": (
        lambda: heads.SubCenterArcFace(CLASSES, pooling="softmax", sub_centers=2),
        oracle.subcenter,
        {"pooling": "softmax"},
    ),
    "CurricularFace": (lambda: heads.CurricularFace(CLASSES), oracle.curricular, {"t": 0.3}),
    "AdaFace": (lambda: heads.AdaFace(CLASSES), oracle.adaface, {"quality": None}),
    "MagFace": (
        lambda: heads.MagFace(CLASSES, lower_norm=1, upper_norm=4),
        oracle.magface,
        {},
    ),
}
# For tests that do not depend on a head's arguments. `make test-all` runs all cases.
EACH_HEAD = {"ArcFace", "AdaFace", "CurricularFace", "MagFace", "SphereFace", "SubCenterArcFace"}
if not JAX:
    EACH_HEAD |= {
        "CM1",
        "CosFace",
        "NormSoftmax",
        "Softmax",
        "SphereFaceR",
        "SubCenterArcFace softmax",
    }
ONE_OF_EACH_HEAD = [
    pytest.param(name, marks=[] if name in EACH_HEAD else pytest.mark.slow) for name in CASES
]


def points(seed=3):
    """Returns random embeddings and labels. None is at a kink of a formula."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, 9).astype("int32")
    embedding = rng.normal(size=(9, DIMENSIONS)).astype("float32")
    return embedding, labels, rng


def built(name, embedding, labels, rng):
    """Returns the head with random centers and state, and the fixed arguments of its oracle.

    Moves some embeddings close to their center, or past π − m.
    """
    make, _, fixed = CASES[name]
    head, fixed = make(), dict(fixed)
    head.build((None, embedding.shape[1]))
    centers = rng.normal(size=head.centers.shape).astype("float32")
    flat = centers if centers.ndim == 2 else centers[:, 0]
    embedding[:3] = -flat[labels[:3]] + 0.2 * embedding[:3]
    embedding[3:5] = flat[labels[3:5]] + 0.2 * embedding[3:5]
    head.centers.assign(centers)
    if "iteration" in fixed:
        head.iteration.assign(float(fixed["iteration"]))
    if "t" in fixed:
        head.t.assign(fixed["t"])
    if "quality" in fixed:
        head.norm_mean.assign(2.0)
        head.norm_std.assign(0.6)
        fixed["quality"] = oracle.adaface_quality(embedding.astype("float64"), 2.0, 0.6)
        assert fixed["quality"].min() < -0.1 < 0.1 < fixed["quality"].max()
    return head, centers, fixed


@EAGER_AND_COMPILED
@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_those_of_the_formula(name, compiled):
    embedding, labels, rng = points()
    head, centers, fixed = built(name, embedding, labels, rng)
    formula = CASES[name][1]
    expected = formula(embedding.astype("float64"), centers.astype("float64"), labels, **fixed)
    np.testing.assert_allclose(
        ops.convert_to_numpy(head(embedding, labels)), expected, rtol=2e-5, atol=64 * 2e-5
    )
    # The gradient of a weighted sum of all logits contains the gradient of every logit.
    weights = rng.normal(size=expected.shape)
    value, (by_embedding, _), (by_centers,) = layer_value_and_gradients(
        head,
        lambda logits: ops.sum(logits * weights.astype("float32")),
        embedding,
        labels,
        compiled=compiled,
    )
    assert value == pytest.approx((expected * weights).sum(), rel=1e-4, abs=1e-2)
    numeric = finite_differences(
        lambda x, w: (formula(x, w, labels, **fixed) * weights).sum(), embedding, centers
    )
    for found, wanted in zip((by_embedding, by_centers), numeric, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("policy", few_on_jax(["mixed_bfloat16", "mixed_float16"], "mixed_float16"))
@pytest.mark.parametrize("name", ONE_OF_EACH_HEAD)
def test_half_precision_embeddings_lose_nothing_more(name, policy, dtype_policy):
    """The oracle gets the rounded embeddings, since the head computes the margin in float32."""
    dtype_policy(policy)
    embedding, labels, rng = points()
    head, centers, _ = built(name, embedding, labels, rng)
    half = policy.removeprefix("mixed_")
    rounded = ops.convert_to_numpy(ops.cast(embedding, half))
    exact = rounded.astype("float64")
    assert np.abs(exact - embedding).max() > 1e-5
    fixed = dict(CASES[name][2])
    if "quality" in fixed:
        fixed["quality"] = oracle.adaface_quality(exact, 2.0, 0.6)
    formula = CASES[name][1]
    expected = formula(exact, centers.astype("float64"), labels, **fixed)
    logits = head(rounded, labels)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(logits), expected, rtol=2e-5, atol=64 * 2e-5)
    weights = rng.normal(size=expected.shape)
    _, _, (by_centers,) = layer_value_and_gradients(
        head, lambda logits: ops.sum(logits * weights.astype("float32")), rounded, labels
    )
    (wanted,) = finite_differences(
        lambda w: (formula(exact, w, labels, **fixed) * weights).sum(), centers
    )
    np.testing.assert_allclose(by_centers, wanted, rtol=2e-3, atol=1e-4 * np.abs(wanted).max())


def at_angles(angles):
    """Returns unit embeddings at these angles from (1, 0, …), the center of label 0."""
    embedding = np.zeros((len(angles), DIMENSIONS))
    embedding[:, 0], embedding[:, 1] = np.cos(angles), np.sin(angles)
    return embedding.astype("float32")


EDGES = [0.0, 1e-5, 1e-3, math.pi - 0.5 - 1e-3, math.pi - 0.5 + 1e-3, math.pi - 1e-3, math.pi]


@EAGER_AND_COMPILED
@pytest.mark.parametrize("name", CASES)
def test_edges_have_the_formulas_value_and_a_finite_gradient(name, compiled):
    embedding, labels = at_angles(EDGES), np.zeros(len(EDGES), "int32")
    head = CASES[name][0]()
    head.build((None, DIMENSIONS))
    centers = np.zeros(head.centers.shape, "float32")
    centers[..., 0] = 1  # Equal centers give every cosine the edge values.
    head.centers.assign(centers)
    fixed = dict(CASES[name][2])
    if "iteration" in fixed:
        head.iteration.assign(float(fixed["iteration"]))
    if "t" in fixed:
        head.t.assign(fixed["t"])
    if "quality" in fixed:
        fixed["quality"] = oracle.adaface_quality(embedding.astype("float64"), 20, 100)
    expected = CASES[name][1](
        embedding.astype("float64"), centers.astype("float64"), labels, **fixed
    )
    logits = ops.convert_to_numpy(head(embedding, labels))
    # Near 0 and π, half a unit in the last place of cos θ is 2.4e-4 in θ.
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=64 * 3e-4)
    _, (by_embedding, _), (by_centers,) = layer_value_and_gradients(
        head, lambda result: ops.sum(result), embedding, labels, compiled=compiled
    )
    assert np.isfinite(by_embedding).all()
    assert np.isfinite(by_centers).all()
    # |d cos / d x| ≤ 1 for a unit vector x, so no logit's gradient is much larger than s·m1.
    assert np.abs(by_embedding).max() < 64 * CLASSES * 10


@pytest.mark.parametrize("name", ONE_OF_EACH_HEAD)
def test_zero_embedding_and_zero_centers_are_finite(name):
    head = CASES[name][0]()
    head.build((None, DIMENSIONS))
    head.centers.assign(np.zeros(head.centers.shape, "float32"))
    embedding, labels = np.zeros((2, DIMENSIONS), "float32"), np.array([0, 1], "int32")
    value, (by_embedding, _), (by_centers,) = layer_value_and_gradients(
        head, lambda logits: ops.sum(logits), embedding, labels, training=True
    )
    assert np.isfinite(value)
    assert np.isfinite(by_embedding).all()
    assert np.isfinite(by_centers).all()


@slow_on_jax
@pytest.mark.parametrize(
    "name", [name for name in CASES if "without threshold" not in name and "easy" not in name]
)
def test_the_targets_logit_falls_with_the_angle(name):
    """The logit must fall over all of [0, π], and a margin must never increase it."""
    angles = np.linspace(0.01, math.pi - 0.01, 400)
    embedding, labels = at_angles(angles), np.zeros(400, "int32")
    head = CASES[name][0]()
    head.build((None, DIMENSIONS))
    centers = np.zeros(head.centers.shape, "float32")
    centers[..., 2] = 1  # All other centers are at right angles, so only the target changes.
    centers[0] = 0
    centers[0, ..., 0] = 1
    head.centers.assign(centers)
    target = ops.convert_to_numpy(head(embedding, labels))[:, 0]
    assert (np.diff(target) <= 1e-3).all()
    plain = ops.convert_to_numpy(head(embedding))[:, 0]
    # The angular margin of AdaFace can be negative, and CM2 multiplies the angle by less than 1.
    if name not in ("AdaFace", "CM2"):
        assert (target <= plain + 1e-3).all()


@pytest.mark.parametrize("name", CASES)
def test_without_labels_the_logits_are_scaled_cosines(name):
    embedding, labels, rng = points()
    head, centers, _ = built(name, embedding, labels, rng)
    scale = np.linalg.norm(embedding, axis=1, keepdims=True) if "SphereFace" in name else head.scale
    if name == "SphereFaceR":
        scale = 30.0
    if centers.ndim == 3:
        margin_free = heads.SubCenterArcFace(
            CLASSES, margin=0, sub_centers=head.sub_centers, pooling=head.pooling
        )
        margin_free.build((None, DIMENSIONS))
        margin_free.centers.assign(centers)
        expected = ops.convert_to_numpy(margin_free(embedding, labels))
    else:
        expected = scale * oracle.cosines(embedding.astype("float64"), centers.astype("float64"))
    if name == "Softmax":
        expected = oracle.softmax(embedding.astype("float64"), centers.astype("float64"), labels)
    np.testing.assert_allclose(ops.convert_to_numpy(head(embedding)), expected, atol=64 * 1e-5)


@EAGER_AND_COMPILED
def test_softmax_with_biases(compiled):
    embedding, labels, rng = points()
    head = heads.Softmax(CLASSES)
    head.build((None, DIMENSIONS))
    centers, bias = rng.normal(size=(CLASSES, DIMENSIONS)), rng.normal(size=CLASSES)
    head.centers.assign(centers)
    head.bias.assign(bias)
    weights = rng.normal(size=(len(labels), CLASSES))
    value, (by_embedding, _), (by_centers, by_bias) = layer_value_and_gradients(
        head,
        lambda logits: ops.sum(logits * weights.astype("float32")),
        embedding,
        labels,
        compiled=compiled,
    )
    expected = oracle.softmax(embedding.astype("float64"), centers, labels, bias)
    assert value == pytest.approx((expected * weights).sum(), rel=1e-4)
    np.testing.assert_allclose(by_embedding, weights @ centers, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_centers, weights.T @ embedding, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_bias, weights.sum(axis=0), rtol=1e-4, atol=1e-4)


def test_combined_margin_holds_the_single_ones():
    embedding, labels, rng = points()
    _, centers, _ = built("ArcFace", embedding, labels, rng)
    pairs = [
        (heads.ArcFace(CLASSES), heads.CombinedMargin(CLASSES, m1=1, m2=0.5, m3=0)),
        (heads.CosFace(CLASSES), heads.CombinedMargin(CLASSES, m1=1, m2=0, m3=0.35)),
        (heads.NormSoftmax(CLASSES), heads.CombinedMargin(CLASSES, m1=1, m2=0, m3=0)),
        (heads.ArcFace(CLASSES), heads.SubCenterArcFace(CLASSES, sub_centers=1)),
    ]
    for single, combined in pairs:
        for head in (single, combined):
            head.build((None, DIMENSIONS))
            head.centers.assign(centers.reshape(head.centers.shape))
        np.testing.assert_allclose(
            ops.convert_to_numpy(single(embedding, labels)),
            ops.convert_to_numpy(combined(embedding, labels)),
            atol=1e-4,
        )


def test_sphereface_r_takes_the_gradient_of_the_plain_cosine():
    embedding, labels, rng = points()
    head, centers, _ = built("SphereFaceR", embedding, labels, rng)
    detached = heads.SphereFaceR(CLASSES)
    plain = heads.NormSoftmax(CLASSES, scale=30.0)
    gradients = []
    for other in (detached, plain):
        other.build((None, DIMENSIONS))
        other.centers.assign(centers)
        gradients.append(
            layer_value_and_gradients(other, lambda logits: ops.sum(logits), embedding, labels)[1][
                0
            ]
        )
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(detached(embedding, labels)),
        ops.convert_to_numpy(head(embedding, labels)),
        atol=1e-4,
    )
