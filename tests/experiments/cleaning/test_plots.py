"""Plots of a cleaning, read back from their lines and bars."""

from __future__ import annotations

import numpy as np
import pytest

from gfkeras.experiments.cleaning import OperatingPoint
from gfkeras.experiments.cleaning.plots import angle_histogram, operating_curves

pytest.importorskip("matplotlib")


def test_the_histogram_counts_every_angle_on_its_side_of_the_cut():
    angles = np.array([10.0, 12.0, 74.9, 75.0, 120.0, np.nan])
    (axes,) = angle_histogram(angles, 75.0).axes
    below = sum(bar.get_height() for bar in axes.patches if bar.get_x() < 75)
    above = sum(bar.get_height() for bar in axes.patches if bar.get_x() >= 75)
    assert (below, above) == (3, 2)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["kept, 3", "dropped, 2"]


def test_the_curves_are_the_mean_of_the_seeds():
    runs = [
        [OperatingPoint(60, 1.0, 0.2), OperatingPoint(80, 0.8, 0.0)],
        [OperatingPoint(60, 0.9, 0.4), OperatingPoint(80, 0.6, 0.2)],
    ]
    figure = operating_curves({"one": runs, "two": runs[:1]}, 75.0, 0.1)
    first, second = figure.axes
    found, lost = first.get_lines()[:2]
    np.testing.assert_allclose(found.get_xydata(), [[60, 0.95], [80, 0.7]])
    np.testing.assert_allclose(lost.get_xydata(), [[60, 0.3], [80, 0.1]])
    np.testing.assert_allclose(second.get_lines()[0].get_ydata(), [1.0, 0.8])
    assert [axes.get_title() for axes in figure.axes] == ["one, 2 seeds", "two, 1 seed"]
