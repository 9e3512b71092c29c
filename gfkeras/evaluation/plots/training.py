"""Plots of a training run: loss, accuracy, group usage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws losses, and next to them accuracies, over the epochs.

    Args:
        rows: one for each epoch, as `keras.callbacks.CSVLogger` writes them: "epoch" (counted from
            0) and any of the logs. Names ending in "loss" are drawn on the left, names ending in
            "accuracy" on the right. Other names and values that are not finite are left out.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        epoch = _number(row.get("epoch", number)) or 0.0
        for name, value in row.items():
            if name.endswith(("loss", "accuracy")) and (y := _number(value)) is not None:
                # The log counts epochs from 0, but people count from 1.
                series.setdefault(name, []).append((epoch + 1, y))
    panels = [
        (label, chosen)
        for label, ending in (("Loss", "loss"), ("Accuracy", "accuracy"))
        if (chosen := [name for name in series if name.endswith(ending)])
    ]
    if not panels:
        raise ValueError(
            "`rows` must hold a column ending in loss or accuracy. "
            f"Received: {len(rows)} rows, columns {sorted({n for row in rows for n in row})}"
        )
    figure = style.new_figure()
    for place, (label, names) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        style.dress(axes, "Epoch", label)
        for i, name in enumerate(names):
            points = np.array(series[name])
            # Many markers would hide the line.
            marker = "o" if len(points) < 40 else None
            look = style.line_style(i) | {"linewidth": 2, "marker": marker, "markersize": 3.5}
            axes.plot(*points.T, label=style.plain(name.replace("_", " ")), **look)
        axes.locator_params(axis="x", integer=True)
        if label == "Accuracy":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(style.percent)
        else:
            axes.set_ylim(bottom=0)
        style.legend(axes, "best")
    return figure


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def group_usage_chart(counts: npt.ArrayLike, title: str = "Group usage") -> Figure:
    """Draws the share of faces in each group. The title gives the number of effective groups.

    `counts` (K,) are the numbers of faces in each group, or mean probabilities. `title` is the
    beginning of the title.
    """
    counts = np.asarray(counts, dtype=np.float64)
    effective = effective_groups(counts)
    shares = counts / counts.sum()
    figure, axes = style.figure_with_axes("Group", "Share of faces")
    axes.bar(np.arange(len(shares)), shares, width=0.8, color=style.BLUE)
    label = f"Even use, {1 / len(shares):.1%} each"
    axes.axhline(1 / len(shares), color=style.INK, linestyle="--", linewidth=1.5, label=label)
    heading = f"{title}: {effective:.1f} effective groups of {len(shares)}"
    style.set_title(axes, heading)
    axes.set_xlim(-0.7, len(shares) - 0.3)
    axes.set_ylim(0, 1.25 * max(float(shares.max()), 1 / len(shares)))
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter(style.percent)
    axes.grid(False, axis="x")
    style.legend(axes, "upper right")
    return figure
