"""Plot of accuracy over the amount of training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation.plots import style
from gfkeras.experiments.ablation.grid import Grid
from gfkeras.experiments.ablation.result import AblationResult, RowResult, Statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AMOUNT_PLOT = "data_amount.png"


def compares_amounts(grid: Grid) -> bool:
    """Returns whether rows of a grid differ in `data.amount`."""
    return len({row.recipe.data.amount for row in grid.rows}) > 1


def draw_amounts(result: AblationResult, out: Path) -> Path | None:
    """Writes `data_amount.png` into the folder. Returns None if no row is finished."""
    rows = [row for row in result.rows if row.scores]
    if not rows:
        return None
    return style.save_figure(amount_figure(result), out / AMOUNT_PLOT)


def amount_figure(result: AblationResult) -> Figure:
    """Returns a plot of accuracy, and of the TAR at a small FAR with enough pairs to measure it.

    The horizontal axis is the number of training images, logarithmic. Lines are means over seeds,
    bands are ± one standard deviation, and small marks are single seeds. Rows without a finished
    training are left out.
    """
    rows = sorted((row for row in result.rows if row.scores), key=_images)
    figure = style.new_figure()
    panels = {"Accuracy": "accuracy"}
    if (far := result.low_far or max(result.fars(), key=float, default=None)) is not None:
        panels[f"TAR at FAR {far}"] = f"tar_at_far.{far}"
    for place, (label, name) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        style.dress(axes, "Training images (people)", label)
        _panel(axes, rows, name)
    # Both panels have the same marks. With one seed there is nothing to explain.
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if any(len(row.scores) > 1 for row in rows):
        style.legend_below(figure, 3, handles=handles, labels=labels)
    return figure


def _panel(axes: Axes, rows: Sequence[RowResult], name: str) -> None:
    look = style.line_style(0)
    x = np.array([_images(row) for row in rows])
    found = [Statistic.of(list(row.values(name).values())) for row in rows]
    mean = np.array([each.mean for each in found])
    axes.plot(x, mean, **look, marker="o", markersize=5.5, zorder=3, label="mean of seeds")
    if all(each.spread is not None for each in found):
        spread = np.array([each.spread for each in found], float)
        axes.fill_between(
            x, mean - spread, mean + spread, color=look["color"], alpha=0.15, linewidth=0,
            label="± standard deviation",
        )  # fmt: skip
    for place, row in enumerate(rows):
        seeds = list(row.values(name).values())
        if len(seeds) > 1:
            # Half-transparent, because seeds can be equal.
            axes.plot(
                [x[place]] * len(seeds), seeds, linestyle="none", marker="o", markersize=3.5,
                color=style.MUTED, alpha=0.55, zorder=2, label=None if place else "one seed",
            )  # fmt: skip
    # A label stands above its point, on the side that the incoming line leaves free.
    falls = np.diff(mean, prepend=mean[:1]) < 0
    for at, value, right in zip(x, mean, falls, strict=True):
        axes.annotate(
            f"{100 * value:.1f}%", (at, value), xytext=(6 if right else -6, 6),
            textcoords="offset points", ha="left" if right else "right", color=style.INK,
            fontsize=10,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{_short(_images(row))}\n({_short(_people(row))})" for row in rows])
    axes.minorticks_off()
    axes.margins(x=0.12, y=0.14)
    # The label of the first point needs space on the left.
    low, high = axes.get_xlim()
    axes.set_xlim(low * (low / high) ** 0.15, high)
    axes.yaxis.set_major_formatter(style.percent)


def _images(row: RowResult) -> float:
    """Returns the number of training images, which seeds can change a little, as their mean."""
    return float(np.mean([score["training"]["images"] for score in row.scores.values()]))


def _short(count: float) -> str:
    """Returns a number with three digits: 158, 1.55k, 15.5k, 2.6M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _people(row: RowResult) -> float:
    return float(np.mean([score["training"]["identities"] for score in row.scores.values()]))
