"""ArcFace and CosFace against PyTorch's autograd in float64 (tests/oracles)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED
from keras import ops

from gfkeras import heads
from gfkeras.losses import softmax_cross_entropy

ORACLE = np.load(Path(__file__).parents[1] / "oracles" / "torch.npz")
FORMS = {
    "arcface-threshold": lambda s, m: heads.ArcFace(7, s, m),
    "arcface-easy": lambda s, m: heads.ArcFace(7, s, m, easy_margin=True),
    "arcface-none": lambda s, m: heads.ArcFace(7, s, m, threshold=False),
    "cosface": lambda s, m: heads.CosFace(7, s, m),
}
SETTINGS = sorted({tuple(key.split("/")[:3]) for key in ORACLE.files if key.endswith("/logits")})


def settings():
    for case, form, numbers in SETTINGS:
        scale, margin = (float(part[1:]) for part in numbers.split("-"))
        yield case, form, numbers, scale, margin


def test_every_form_was_computed():
    assert len(SETTINGS) == 2 * len(FORMS) * 2
    assert {form for _, form, _ in SETTINGS} == set(FORMS)


@EAGER_AND_COMPILED
@pytest.mark.parametrize(("case", "form", "numbers", "scale", "margin"), list(settings()))
def test_logits_loss_and_gradients(case, form, numbers, scale, margin, compiled):
    labels, wanted = ORACLE[f"{case}/labels"], f"{case}/{form}/{numbers}"
    head = FORMS[form](scale, margin)
    head.build((None, 8))
    head.centers.assign(ORACLE[f"{case}/centers"])
    embeddings = ORACLE[f"{case}/embeddings"]
    logits = ops.convert_to_numpy(head(embeddings, labels))
    # Near θ = 0 and π, the rounding of a float32 cosine changes the angle by 2.4e-4.
    atol = scale * (1e-5 if case == "random" else 3e-4)
    np.testing.assert_allclose(logits, ORACLE[f"{wanted}/logits"], rtol=1e-5, atol=atol)
    loss, (by_embedding, _), (by_centers,) = layer_value_and_gradients(
        head,
        lambda logits: ops.mean(softmax_cross_entropy(logits, labels)),
        embeddings,
        labels,
        compiled=compiled,
    )
    assert loss == pytest.approx(ORACLE[f"{wanted}/loss"], rel=1e-4)
    assert np.isfinite(by_embedding).all()
    assert np.isfinite(by_centers).all()
    if f"{wanted}/gradient/embeddings" in ORACLE.files:
        for found, key in ((by_embedding, "embeddings"), (by_centers, "centers")):
            expected = ORACLE[f"{wanted}/gradient/{key}"]
            # The gradient divides by sin θ. Within 0.2 rad of π, a float32 cosine gives it only
            # four digits.
            np.testing.assert_allclose(
                found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
            )
