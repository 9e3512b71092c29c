"""Decision boundaries, compared with the margins' formulas in angles."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from gfkeras import heads
from gfkeras.experiments.figures import boundary_figure, decision_boundaries
from gfkeras.experiments.figures.boundaries import DEGREES

ONE, TWO = np.meshgrid(np.radians(DEGREES), np.radians(DEGREES), indexing="ij")


@pytest.fixture(scope="module")
def boundaries():
    return decision_boundaries()


# The lead of the target's logit at each pair of angles, up to a positive factor.
FORMULAS = {
    ("NormSoftmax", "cos θ"): np.cos(ONE) - np.cos(TWO),
    ("Softmax", "‖W₁‖ = 1.5 ‖W₂‖"): 1.5 * np.cos(ONE) - np.cos(TWO),
    ("CosFace", "m = 0.35"): np.cos(ONE) - 0.35 - np.cos(TWO),
    ("ArcFace", "m = 0.5"): TWO - ONE - 0.5,
    ("SphereFaceR", "m = 1.5"): TWO - np.minimum(1.5 * ONE, np.pi),
}


@pytest.mark.parametrize("key", FORMULAS)
def test_the_first_class_is_satisfied_where_its_formula_says(key, boundaries):
    (found,) = [b for b in boundaries if (b.head, b.setting) == key]
    expected = FORMULAS[key]
    clear = np.abs(expected) > 1e-4
    assert (np.sign(found.first) == np.sign(expected))[clear].all()
    # The formula of the second class is the same, with the angles and the lengths exchanged.
    mirrored = np.cos(TWO) - 1.5 * np.cos(ONE) if key[0] == "Softmax" else expected.T
    assert (np.sign(found.second) == np.sign(mirrored))[np.abs(mirrored) > 1e-4].all()


def test_every_head_is_in_the_plot_and_equal_ones_share_a_panel(boundaries):
    assert {boundary.head for boundary in boundaries} == set(heads.HEADS)
    titles = [axes.get_title(loc="left") for axes in boundary_figure(boundaries).axes]
    assert titles.count("ArcFace,\nSubCenterArcFace,\nPartialFC\nm = 0.5") == 1
    assert len(titles) == len(set(titles)) == len(boundaries) - 2


def test_nothing_and_unknown_heads_are_refused():
    with pytest.raises(ValueError, match="`boundaries`"):
        boundary_figure([])
    with pytest.raises(ValueError, match="did you mean 'ArcFace'"):
        decision_boundaries(["ArcFce"])
