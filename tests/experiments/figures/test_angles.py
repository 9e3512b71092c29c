"""Angles of pairs and the thresholds between them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from gfkeras.evaluation import evaluate_pair_scores
from gfkeras.experiments.figures import PairAngles, angle_figure

DEGREES = np.concatenate([np.linspace(20.5, 70.5, 51), np.linspace(60.5, 110.5, 101)])
SAME = np.arange(152) < 51


def result(degrees=DEGREES):
    return evaluate_pair_scores(np.cos(np.radians(degrees)), SAME)


def test_angles_and_thresholds_are_those_of_the_scores():
    measured = result()
    angles = PairAngles.of(measured, ["1e-1", "1e-2"])
    np.testing.assert_allclose(angles.angle, DEGREES, atol=1e-6)
    assert angles.accuracy == measured.accuracy
    assert np.cos(np.radians(angles.threshold)) == pytest.approx(measured.threshold)
    impostor = DEGREES[~SAME]
    # A FAR of 10 % accepts ten of 101 impostors.
    assert (impostor <= angles.at_far["1e-1"] + 1e-9).sum() == 10
    assert (impostor <= angles.at_far["1e-2"] + 1e-9).sum() == 1
    told = angles.to_json()
    assert told["genuine"]["mean"] == pytest.approx(45.5)
    assert told["impostor"]["std"] == pytest.approx(impostor.std())
    assert (sum(told["genuine"]["counts"]), told["genuine"]["counts"][10]) == (51, 2)
    assert told["edges"][:3] == [0, 2, 4]


def test_the_plot_marks_the_thresholds():
    angles = PairAngles.of(result(), ["1e-1"])
    figure = angle_figure(angles)
    axes = figure.axes[0]
    marked = [line.get_xdata()[0] for line in axes.lines]
    assert marked == [angles.threshold, angles.at_far["1e-1"]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "Impostor: 101 pairs, 85.5° ± 14.6°"
    assert texts[3] == f"Threshold {angles.at_far['1e-1']:.1f}°: FAR 10%"
    assert axes.get_xlim()[0] <= 20.5 < 110.5 <= axes.get_xlim()[1]


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match=r"rates that 101 impostor pairs can measure.*1e-3"):
        PairAngles.of(result(), ["1e-3"])
    with pytest.raises(ValueError, match="Unknown FAR"):
        PairAngles.of(result(), ["5e-5"])
    with pytest.raises(ValueError, match="`result` must be measured by the cosine"):
        PairAngles.of(evaluate_pair_scores(np.linspace(3, 0, 152), SAME))


def test_a_pair_of_identical_images():
    degrees = DEGREES.copy()
    degrees[0] = 0.0
    angles = PairAngles.of(result(degrees))
    assert angles.angle[0] == 0
    assert angle_figure(angles).axes[0].get_xlim()[0] == 0
