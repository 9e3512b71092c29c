"""Folding of the head: it computes the same outputs as the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from gfkeras.export import fold
from gfkeras.export.preparation.flattening import Affine

GROUPS, DIM, FEATURE = 7, 20, 48


def apply(affine: Affine | None, x: np.ndarray) -> np.ndarray:
    return x if affine is None else x @ affine.kernel + affine.bias


@pytest.mark.parametrize("combine", ["add", "concat"])
# 64 is wider than the backbone's feature of 48, so that FC is folded. 16 is narrower and stays.
@pytest.mark.parametrize("shared_dim", [None, 64, 16])
def test_folded_head_equals_the_model(make_model, images, combine, shared_dim):
    model = make_model(combine=combine, shared_dim=shared_dim)
    model.group_scale = 0.75
    head = fold(model)
    x = apply(head.shared, np.asarray(model.backbone(images, training=False), np.float64))
    source = apply(head.instance, x)
    alpha = np.asarray(model.get_layer("group_decision").nonlinearity.alpha)
    hidden = apply(head.decision_input, source)
    hidden = np.where(hidden > 0, hidden, alpha * hidden)
    group_feature = apply(head.decision_output, hidden)
    logits = apply(head.classifier, group_feature)
    representations = np.einsum("bf,kfd->bkd", x, head.group_kernel) + head.group_bias
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    hard = representations[np.arange(len(x)), logits.argmax(axis=-1)]
    soft = np.einsum("bk,bkd->bd", p, representations)

    for mode, ensemble in (("hard", hard), ("soft", soft)):
        model.mode = mode
        expected = model(images, training=False)
        embedding = np.concatenate([source, ensemble], -1) if combine == "concat" else ensemble
        np.testing.assert_allclose(embedding, expected["embedding"], atol=2e-5)
        np.testing.assert_allclose(group_feature, expected["group_feature"], atol=2e-5)
        np.testing.assert_allclose(logits, expected["group_logits"], atol=1e-4)
    assert len(set(logits.argmax(axis=-1))) > 2, "the test needs several groups to be chosen"


def test_layers_after_folding(make_model):
    assert fold(make_model(combine="add")).instance is None
    assert fold(make_model(combine="concat")).instance.kernel.shape == (FEATURE, DIM)
    wide = fold(make_model(shared_dim=64))
    assert wide.shared is None
    assert wide.group_kernel.shape == (GROUPS, FEATURE, DIM)
    assert wide.decision_input.kernel.shape == (FEATURE, 256)
    narrow = fold(make_model(shared_dim=16))
    assert narrow.shared.kernel.shape == (FEATURE, 16)
    assert narrow.group_kernel.shape == (GROUPS, 16, DIM)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_affine_of_batch_normalization(scale, center):
    rng = np.random.default_rng(0)
    bn = keras.layers.BatchNormalization(scale=scale, center=center, epsilon=1e-3)
    dense = keras.layers.Dense(3, bias_initializer="random_normal")
    bn.build((None, 5))
    dense.build((None, 5))
    bn.moving_mean.assign(rng.normal(size=5))
    bn.moving_variance.assign(rng.uniform(0.5, 2, 5))
    x = rng.normal(size=(4, 5)).astype(np.float32)
    folded = Affine.of_dense(dense).normalized_first(bn)
    np.testing.assert_allclose(apply(folded, x), dense(bn(x, training=False)), atol=1e-5)

    after = keras.layers.BatchNormalization(scale=scale, center=center)
    after.build((None, 3))
    after.moving_mean.assign(rng.normal(size=3))
    after.moving_variance.assign(rng.uniform(0.5, 2, 3))
    folded = Affine.of_dense(dense).then_normalized(after)
    np.testing.assert_allclose(apply(folded, x), after(dense(x), training=False), atol=1e-5)
