"""Pictures of angles: where to cut, and what a cut finds and loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation.plots.style import (
    BLUE,
    COLORS,
    INK,
    MUTED,
    STYLES,
    VERMILION,
    dress,
    figure_with_axes,
    legend,
    new_figure,
    percent,
)
from gfkeras.experiments.cleaning.label_noise import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BIN = 2.5
_CURVES = (("wrong", "found"), ("right", "lost"))


def angle_histogram(angles: np.ndarray, cut: float) -> Figure:
    """How many images lie at which angle to their dominant center, and the cut.

    Args:
        angles: (N,) degrees; NaN is left out.
        cut: the angle that images are dropped from.
    """
    figure, axes = figure_with_axes("Angle to the dominant center (degrees)", "Images")
    edges = np.arange(0, 180 + _BIN, _BIN)
    angles = angles[~np.isnan(angles)]
    for part, color, name in (
        (angles[angles < cut], BLUE, "kept"),
        (angles[angles >= cut], VERMILION, "dropped"),
    ):
        axes.hist(part, edges, color=color, label=f"{name}, {len(part):,}")
    axes.axvline(cut, color=INK, linewidth=1.2, linestyle="--")
    if len(angles):
        axes.set_xlim(max(0, angles.min() - 10), min(180, angles.max() + 10))
    legend(axes, "upper right")
    return figure


def operating_curves(
    curves: Mapping[str, Sequence[Sequence[OperatingPoint]]], cut: float, most_lost: float
) -> Figure:
    """Wrong labels found and right ones lost over the angle, a panel for each setting.

    Args:
        curves: for each setting the curves of several seeds, over the same angles; drawn are
            their mean and, shaded, their range.
        cut: marked: the default.
        most_lost: marked: the share of right labels that may be lost.
    """
    figure = new_figure()
    first: Axes | None = None
    for place, (name, runs) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), place, sharey=first)
        first = first or axes
        dress(axes, "Drop from (degrees)", "Share of labels dropped" if place == 1 else "")
        seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
        axes.set_title(f"{name}, {seeds}", color=MUTED, fontsize=11)
        angles = [point.angle for point in runs[0]]
        for number, (label, key) in enumerate((("wrong", "found"), ("right", "lost"))):
            values = np.array([[getattr(point, key) for point in run] for run in runs])
            color, style = COLORS[number], STYLES[number]
            axes.fill_between(
                angles, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0
            )
            mean = values.mean(axis=0)
            axes.plot(angles, mean, color=color, linestyle=style, linewidth=2)
            # The name beside the curve, where it has fallen to a half.
            half = min(int((mean > 0.5).sum()), len(angles) - 1)
            axes.annotate(
                label, (angles[half], mean[half]), (8, 4), textcoords="offset points",
                color=color, fontsize=10,
            )  # fmt: skip
        axes.axvline(cut, color=MUTED, linewidth=1)
        axes.axhline(most_lost, color=MUTED, linewidth=1, linestyle=":")
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(percent)
    return figure
