"""CosFace's bounds of scale and margin, scale="auto", and the warnings of a training."""

from __future__ import annotations

import math
import re
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import gfkeras
from gfkeras import heads
from gfkeras.heads import cosface_margin_upper_bound, cosface_scale_lower_bound

SCALED = sorted(set(heads.HEADS) - {"SphereFace", "Softmax", "PartialFC"})


def simplex(classes):
    """Returns C unit vectors in C dimensions with all cosines −1/(C − 1)."""
    rows = np.eye(classes) - 1 / classes
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("classes", [2, 3, 10, 400])
def test_perfect_embeddings_reach_exactly_the_probability(classes, probability):
    for margin in (0.0, 0.35):
        scale = cosface_scale_lower_bound(classes, probability, margin)
        logits = scale * (simplex(classes) @ simplex(classes)[0])
        logits[0] -= scale * margin
        assert np.exp(logits[0]) / np.exp(logits).sum() == pytest.approx(probability, abs=1e-12)


def test_the_scales_bound_is_the_papers_formula():
    for classes, p in ((2, 0.9), (10, 0.99), (10_575, 0.9), (85_742, 0.999)):
        formula = (classes - 1) / classes * math.log((classes - 1) * p / (1 - p))
        assert cosface_scale_lower_bound(classes, p) == pytest.approx(formula, rel=1e-12)


@pytest.mark.parametrize(
    ("classes", "dimensions", "bound"),
    [
        (2, 1, 2.0), (3, 1, 0.0), (2, 2, 2.0), (3, 2, 1.5), (4, 2, 1.0),
        (8, 2, 1 - math.cos(math.pi / 4)), (4, 3, 4 / 3), (6, 3, 1.0), (513, 512, 513 / 512),
        (514, 512, 1.0), (1_000_000, 512, 1.0),
    ],
)  # fmt: skip
def test_the_margins_bound(classes, dimensions, bound):
    assert cosface_margin_upper_bound(classes, dimensions) == pytest.approx(bound, abs=1e-12)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (cosface_scale_lower_bound, (1, 0.9), "num_classes"),
        (cosface_scale_lower_bound, (2.5, 0.9), "num_classes"),
        (cosface_scale_lower_bound, (10, 0), "probability"),
        (cosface_scale_lower_bound, (10, 1), "probability"),
        (cosface_scale_lower_bound, (10, float("nan")), "probability"),
        (cosface_scale_lower_bound, (10, "high"), "probability"),
        (cosface_scale_lower_bound, (10, 0.9, -0.1), "margin"),
        (cosface_scale_lower_bound, (10, 0.9, 10 / 9), "margin"),
        (cosface_margin_upper_bound, (1, 512), "num_classes"),
        (cosface_margin_upper_bound, (10, 0), "dimensions"),
    ],
)
def test_wrong_arguments_are_named(function, arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}` must.*Received: {name}="):
        function(*arguments)


@pytest.mark.parametrize("name", SCALED)
def test_the_automatic_scale_reaches_its_probability_with_the_margin(name):
    head = heads.get(name, num_classes=5, scale="auto")
    twin = type(head).from_config(head.get_config())
    assert isinstance(head.get_config()["scale"], float)
    assert twin.scale == head.scale
    head.build((None, 5))
    rows = 110 * simplex(5).astype("float32")
    shape = head.centers.shape
    head.centers.assign(rows if len(shape) == 2 else np.repeat(rows[:, None], shape[1], 1))
    if name == "AdaFace":
        head.norm_mean.assign(100.0)  # the head clips norms there
    logits = ops.convert_to_numpy(head(rows, np.arange(5, dtype="int32")))
    chance = np.exp(logits.diagonal()) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(chance, 0.99, atol=1e-4)


def test_bounds_of_very_many_classes():
    # 1 − cos(2π/C) would round to 0, and 10^400 exceeds float64.
    assert cosface_margin_upper_bound(10**9, 2) == pytest.approx(2 * math.pi**2 / 1e18)
    assert cosface_margin_upper_bound(10**400, 2) == 0.0
    assert cosface_scale_lower_bound(10**400, 0.5) == pytest.approx(400 * math.log(10))
    assert cosface_scale_lower_bound(2, 5e-324) == pytest.approx(math.log(5e-324) / 2)


@pytest.mark.parametrize("name", ["ArcFace", "CurricularFace", "SubCenterArcFace"])
def test_the_automatic_scale_refuses_a_margin_that_cannot_be_kept(name):
    head = heads.get(name, num_classes=10, scale="auto", margin=2.0)
    with pytest.raises(ValueError, match=r'`scale` cannot be "auto" .* 1.416 .* = 1.111 for 10'):
        head.build((None, 4))
    with pytest.raises(ValueError, match=r"`scale` must be positive or .* Received: scale='Auto'"):
        heads.get(name, num_classes=10, scale="Auto")


def test_partial_fc_takes_the_inner_heads_scale():
    inner = {"scale": "auto", "margin": 0.2}
    head = heads.PartialFC(50, head="CosFace", head_arguments=inner)
    assert head.scale == heads.CosFace(50, "auto", 0.2).scale
    with pytest.raises(ValueError, match="`num_classes` must be at least 2"):
        heads.CosFace(1, scale="auto")


@pytest.mark.parametrize(
    ("head", "dimensions", "expected"),
    [
        (lambda: heads.CosFace(100, scale=5.0), 64, ["scale 5 of CosFace is below .* 6.724"]),
        (lambda: heads.ArcFace(100, scale=5.0), 64, ["scale 5 of ArcFace"]),
        (lambda: heads.CosFace(100, scale=6.8), 64, []),
        (lambda: heads.CosFace(100, scale="auto"), 64, []),
        (lambda: heads.CosFace(8), 2, ["CosFace takes 0.35 .* bound 0.2929 for 8 identities in 2"]),
        (lambda: heads.ArcFace(8), 2, []),
        (lambda: heads.ArcFace(8, margin=0.8), 2, ["margin of ArcFace takes 0.3033"]),
        (lambda: heads.CosFace(8, 2.0), 2, ["scale 2 of CosFace", "margin of CosFace"]),
        # The 10 identities of a step need less scale than all 100.
        (lambda: heads.PartialFC(100, head="CosFace", head_arguments={"scale": 5.0}), 64, []),
        (lambda: heads.PartialFC(100, head="CosFace"), 2, ["bound 0.001973 for 100 identities"]),
        (lambda: heads.SphereFace(100), 2, []),
        (lambda: heads.Softmax(100), 2, []),
        (lambda: heads.PartialFC(100, head="Softmax"), 2, []),
        (lambda: heads.CosFace(1, scale=1.0), 2, []),
    ],
)
def test_the_bounds_that_a_head_breaks(head, dimensions, expected):
    head = head()
    head.build((None, dimensions))
    found = head.bound_warnings()
    assert len(found) == len(expected)
    for sentence, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, sentence), sentence


def test_fit_warns_below_the_bound():
    inputs, labels = np.eye(4, dtype="float32"), np.arange(4, dtype="int32")
    for scale, warned in ((1.0, True), ("auto", False)):
        images = keras.Input((4,))
        network = keras.Model(images, keras.layers.Dense(3)(images))
        training = gfkeras.FaceClassifier(network, heads.CosFace(4, scale))
        training.compile("sgd", run_eagerly=True)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            training.fit(inputs, labels, verbose=0)
        assert warned == any("below CosFace's bound" in str(w.message) for w in found)
