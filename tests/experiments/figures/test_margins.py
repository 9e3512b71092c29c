"""Margin curves, compared with the heads' formulas in float64."""

from __future__ import annotations

import math

import head_oracles as oracle
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from gfkeras import heads
from gfkeras.experiments.figures import MarginCurve, margin_curves, margin_figure

# Avoid the jumps of a curve: at 90° and where θ + m is π, rounding decides.
ANGLES = np.array([0.0, 7, 30, 44, 61, 89, 91, 120, 135, 150, 152, 163, 179, 180])
CENTERS = np.array([[1.0, 0, 0], [0, 0, 1]])
LABELS = np.zeros(len(ANGLES), int)


def embedding(norm):
    theta = np.radians(ANGLES)
    return norm * np.stack([np.cos(theta), np.sin(theta), 0 * theta], axis=1)


def of(function, *arguments, norm=1.0, scale=64.0, **named):
    return function(embedding(norm), CENTERS, LABELS, *arguments, **named)[:, 0] / scale


def ada(norm, quality):
    # The curves use norms with mean 20 and deviation 19·0.333.
    found = oracle.adaface_quality(embedding(norm), 20.0, 19 * 0.333)
    np.testing.assert_allclose(found, quality, atol=1e-3)
    return of(oracle.adaface, found, norm=norm)


EXPECTED = {
    ("NormSoftmax", "cos θ"): lambda: np.cos(np.radians(ANGLES)),
    ("Softmax", "cos θ"): lambda: of(oracle.softmax, scale=1.0),
    ("CosFace", "m = 0.35"): lambda: of(oracle.cosface),
    ("ArcFace", "m = 0.5"): lambda: of(oracle.arcface),
    ("SubCenterArcFace", "m = 0.5"): lambda: of(oracle.arcface),
    ("CurricularFace", "m = 0.5"): lambda: of(oracle.curricular, 0.0),
    ("PartialFC", "m = 0.5"): lambda: of(oracle.arcface),
    ("ArcFace", "easy margin"): lambda: of(oracle.arcface, easy_margin=True),
    ("CombinedMargin", "(1, 0.3, 0.2)"): lambda: of(oracle.combined, 1, 0.3, 0.2),
    ("CombinedMargin", "(0.9, 0.4, 0.15)"): lambda: of(oracle.combined, 0.9, 0.4, 0.15),
    ("SphereFaceR", "m = 1.5"): lambda: of(oracle.sphereface_r, scale=30.0),
    ("SphereFace", "m = 4, λ = 5"): lambda: of(oracle.sphereface, 10**9, scale=1.0),
    ("AdaFace", "low norm"): lambda: ada(1.0, -1),
    ("AdaFace", "mean norm"): lambda: ada(20.0, 0),
    ("AdaFace", "high norm"): lambda: ada(39.0, 1),
    ("MagFace", "‖x‖ = 10"): lambda: of(oracle.magface, 10.0, 110.0, norm=10.0),
    ("MagFace", "‖x‖ = 110"): lambda: of(oracle.magface, 10.0, 110.0, norm=110.0),
}


def test_every_curve_is_its_formula():
    found = {(curve.head, curve.setting): curve.logit for curve in margin_curves(angles=ANGLES)}
    assert found.keys() == EXPECTED.keys()
    for key, expected in EXPECTED.items():
        np.testing.assert_allclose(found[key], expected(), atol=5e-4, err_msg=str(key))


def test_every_head_is_in_the_plot():
    curves = margin_curves()
    assert {curve.head for curve in curves} == set(heads.HEADS)
    figure = margin_figure(curves)
    fixed, by_norm = figure.axes
    labels = [text.get_text() for text in fixed.get_legend().get_texts()]
    merged = "ArcFace, SubCenterArcFace,\nCurricularFace, PartialFC: m = 0.5"
    assert labels.count(merged) == 1
    assert "NormSoftmax, Softmax: cos θ" in labels
    assert len(by_norm.get_legend().get_texts()) == 6
    drawn = {(line.get_color(), str(line.get_linestyle())) for line in fixed.lines}
    assert len(drawn) == len(fixed.lines) == len(labels)


def test_more_curves_than_colors_still_look_different():
    curves = [MarginCurve("ArcFace", f"m = {i}", 1, np.full(2, -i / 20)) for i in range(20)]
    (axes,) = margin_figure(curves, angles=[0, 180]).axes
    assert len(axes.lines) == 21
    assert len({(line.get_color(), str(line._dash_pattern)) for line in axes.lines}) == 21


def test_some_heads():
    curves = margin_curves(["CosFace"], angles=[0, 60])
    assert [curve.head for curve in curves] == ["CosFace"]
    np.testing.assert_allclose(curves[0].logit, [0.65, math.cos(math.pi / 3) - 0.35], atol=1e-6)
    assert len(margin_figure(margin_curves(["MagFace"])).axes) == 1
    with pytest.raises(ValueError, match="did you mean 'ArcFace'"):
        margin_curves(["ArcFce"])
    with pytest.raises(ValueError, match="`curves`"):
        margin_figure([])
