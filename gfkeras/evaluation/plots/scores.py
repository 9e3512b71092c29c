"""Histograms of scores and tables of thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.metrics import FARS, Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots import style
from gfkeras.evaluation.thresholds import threshold_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.4
_COLUMNS = (0.02, 0.52, 0.98)


def score_histogram(result: PairsResult | Roc, threshold: float | None = None) -> Figure:
    """Draws the scores of genuine and of impostor pairs, each as a share of its kind.

    Args:
        result: the scores to draw. A ROC holds all of them, for any number of pairs.
        threshold: a threshold to mark. By default it is the threshold of a `PairsResult`.
    """
    figure, axes = style.figure_with_axes("Similarity", "Share of pairs of each kind")
    if isinstance(result, PairsResult):
        threshold = result.threshold if threshold is None else threshold
        result = result.curve
    # The first threshold is above every score and is not a score itself.
    scores = result.thresholds[1:]
    low, high = float(scores[-1]), float(scores[0])
    # If all scores are equal, the bins still need a width.
    pad = 0.02 * (high - low) or 0.01
    edges = np.linspace(low - pad, high + pad, 61)
    # The steps of the rates are the shares of pairs at each distinct score.
    impostor, genuine = (
        np.histogram(scores, edges, weights=np.diff(rates))[0] for rates in (result.far, result.tar)
    )
    labels = f"Impostor ({result.impostor:,})", f"Genuine ({result.genuine:,})"
    draw_kinds(axes, edges, impostor, genuine, *labels)
    if threshold is not None:
        label = f"Threshold {threshold:.3f}"
        axes.axvline(threshold, color=style.INK, linestyle="--", linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])
    style.legend_below(figure, 3)
    return figure


def draw_kinds(
    axes: Axes,
    edges: npt.NDArray[np.float64],
    impostor: npt.NDArray[np.float64],
    genuine: npt.NDArray[np.float64],
    impostor_label: str,
    genuine_label: str,
) -> None:
    """Draws both kinds of pairs over the same bins.

    Colour distinguishes the kinds, and so does hatching when printed in grey. `edges` (B + 1,) are
    the limits of the bins. `impostor` and `genuine` (B,) are the share of each kind in the bins.
    """
    for shares, color, hatch, label in (
        (impostor, style.VERMILION, "////", impostor_label),
        (genuine, style.BLUE, None, genuine_label),
    ):
        box = {"facecolor": (color, 0.22), "hatch": hatch}
        axes.stairs(shares, edges, fill=True, edgecolor=(color, 0.55), linewidth=0, **box)
        axes.stairs(shares, edges, color=color, linewidth=1.8)
        # `stairs` makes no filled box in the legend, so add an empty area with the same look.
        axes.fill_between([], [], edgecolor=color, label=label, **box)
    axes.yaxis.set_major_formatter(style.percent)


def threshold_table(curve: Roc, fars: Sequence[float] = FARS) -> Figure:
    """Draws a table: false accepts allowed, threshold, and the share of genuine pairs accepted.

    If there are too few impostor pairs for a FAR, its row says so.
    """
    rows = threshold_rows(curve, fars)
    known = [row for row in rows if row[1] is not None]
    height = _ROW * (len(rows) + 3)
    figure = style.new_figure(height)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 2.2, -0.8)

    def put(column: int, row: float, text: str, color: str = style.INK, **look: object) -> None:
        place = ("left", "right", "right")[column]
        axes.text(_COLUMNS[column], row, text, ha=place, va="center", color=color, **look)

    headings = ("False accepts allowed", "Threshold", "Genuine pairs accepted")
    for column, heading in enumerate(headings):
        put(column, 0, heading, style.MUTED, fontsize=11)
    for number, (far, (allowed, threshold, tar)) in enumerate(zip(fars, rows, strict=True), 1):
        axes.axhline(number - 0.5, color=style.GRID, linewidth=0.8)
        known_row = threshold is not None and tar is not None
        put(0, number, allowed, style.INK if known_row else style.MUTED, fontsize=12)
        if known_row:
            put(1, number, f"{threshold:.3f}", fontsize=12, fontweight="bold")
            put(2, number, f"{tar:.2%}", fontsize=12)
        else:
            needs = f"needs {round(1 / far):,} impostor pairs, not {curve.impostor:,}"
            put(2, number, needs, style.MUTED, fontsize=11)
    axes.axhline(len(rows) + 0.5, color=style.GRID, linewidth=0.8)
    if known:
        allowed, threshold, tar = known[-1]
        words = allowed.replace("1 in ", "one false accept in ")
        text = f"For {words} use {threshold:.3f}: {tar:.2%} of the genuine pairs are accepted."
        # Ignore this text in the layout. It would make the table narrower than its last line.
        put(0, len(rows) + 1.3, text, fontsize=11, in_layout=False)
    return figure
