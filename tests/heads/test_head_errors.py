"""Errors of the heads for bad input, and the documented results in compiled steps."""

from __future__ import annotations

import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from eager_and_compiled import few_on_jax
from keras import ops

from gfkeras import heads
from gfkeras.heads import HEADS, ArcFace
from gfkeras.losses import softmax_cross_entropy

EMBEDDING = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 3]), r"\[0, 3\).*from 0 to 3"),
        (np.array([-1, 0]), r"\[0, 3\).*from -1"),
        (np.array([0.0, 1.0]), "must be integers.*float"),
        (np.array([[0], [1]]), r"shape \(batch,\)"),
        (np.array([0, 1, 2]), "one entry per embedding.*3 labels and 2"),
    ],
)
@pytest.mark.parametrize("name", HEADS)
def test_wrong_labels_are_named(name, labels, message):
    with pytest.raises(ValueError, match=f"`labels`.*{message}"):
        HEADS[name](3)(EMBEDDING, labels)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (np.ones((2, 3, 4), "float32"), r"shape \(batch, dimensions\).*\(2, 3, 4\)"),
        (np.ones(4, "float32"), r"shape \(batch, dimensions\).*\(4,\)"),
        (np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]], "float32"), "finite.*1 of 2 rows.*index 1"),
        (np.array([[np.inf, 2, 3, 4]], "float32"), "finite.*1 of 1 rows"),
        (np.ones((2, 4), "int32"), "floats.*int32"),
    ],
)
@pytest.mark.parametrize("name", HEADS)
def test_wrong_embeddings_are_named(name, embedding, message):
    head = HEADS[name](3)
    head.build((None, 4))
    with pytest.raises(ValueError, match=f"`embedding`.*{message}"):
        head(embedding, np.zeros(len(embedding), "int32"))


NAN = float("nan")
WRONG = [
    (ArcFace, {"margin": 3.2}),
    (ArcFace, {"margin": -0.1}),
    (ArcFace, {"margin": NAN}),
    (ArcFace, {"scale": 0}),
    (ArcFace, {"scale": -64.0}),
    (ArcFace, {"scale": NAN}),
    (ArcFace, {"scale": float("inf")}),
    (ArcFace, {"num_classes": 0}),
    (ArcFace, {"num_classes": 2.5}),
    (heads.NormSoftmax, {"scale": 0}),
    (heads.NormSoftmax, {"scale": "large"}),
    (heads.CosFace, {"margin": 1.0}),
    (heads.CosFace, {"margin": -0.1}),
    (heads.CombinedMargin, {"m1": 0}),
    (heads.CombinedMargin, {"m2": 4}),
    (heads.CombinedMargin, {"m3": 1.5}),
    (heads.SphereFace, {"margin": 0.5}),
    (heads.SphereFace, {"lambda_start": -1}),
    (heads.SphereFace, {"lambda_min": -1}),
    (heads.SphereFace, {"lambda_decay": -1}),
    (heads.SphereFaceR, {"margin": 0.9}),
    (heads.SubCenterArcFace, {"sub_centers": 0}),
    (heads.SubCenterArcFace, {"pooling": "mean"}),
    (heads.SubCenterArcFace, {"temperature": 0}),
    (heads.CurricularFace, {"momentum": 1.0}),
    (heads.CurricularFace, {"margin": 3.5}),
    (heads.AdaFace, {"margin": 1.2}),
    (heads.AdaFace, {"concentration": 0}),
    (heads.AdaFace, {"momentum": 1.0}),
    (heads.MagFace, {"lower_norm": 0}),
    (heads.MagFace, {"upper_norm": 9.0}),
    (heads.MagFace, {"lower_margin": -0.1}),
    (heads.MagFace, {"upper_margin": 0.1}),
    (heads.MagFace, {"regularization_weight": -1}),
]


@pytest.mark.parametrize(("head", "arguments"), WRONG)
def test_wrong_arguments_are_named(head, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}` must.*Received: {name}="):
        head(**{"num_classes": 2, **arguments})


@pytest.mark.parametrize("name", few_on_jax(HEADS, "ArcFace", "PartialFC", "SubCenterArcFace"))
def test_a_wrong_label_in_a_compiled_step_has_no_margin_and_a_nan_loss(name):
    head = HEADS[name](3)
    head.build((None, 4))
    wrong, right = np.array([1, 7], "int32"), np.array([1, 2], "int32")
    seen = {}
    for key, labels in (("wrong", wrong), ("right", right)):
        seen[key], _, _ = layer_value_and_gradients(
            head,
            lambda logits, labels=labels: ops.sum(softmax_cross_entropy(logits, labels)),
            EMBEDDING,
            labels,
            compiled=True,
        )
    assert np.isnan(seen["wrong"])
    assert np.isfinite(seen["right"])


@pytest.mark.parametrize("name", few_on_jax(HEADS, "ArcFace", "PartialFC", "SubCenterArcFace"))
def test_nan_embeddings_in_a_compiled_step_give_a_nan_loss(name):
    head = HEADS[name](3)
    head.build((None, 4))
    labels = np.array([1, 2], "int32")
    value, _, _ = layer_value_and_gradients(
        head,
        lambda logits: ops.sum(softmax_cross_entropy(logits, labels)),
        np.where(EMBEDDING[1, 1] == EMBEDDING, np.float32("nan"), EMBEDDING),
        labels,
        compiled=True,
    )
    assert np.isnan(value)


def test_unknown_head_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'ArcFace'"):
        heads.get("arcfce", num_classes=2)
