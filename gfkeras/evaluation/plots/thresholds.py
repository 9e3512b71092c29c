"""The table to choose a threshold by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gfkeras.evaluation.metrics import FARS, Roc
from gfkeras.evaluation.plots.style import GRID, INK, MUTED, new_figure
from gfkeras.evaluation.thresholds import threshold_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.4
_COLUMNS = (0.02, 0.52, 0.98)


def threshold_table(curve: Roc, fars: Sequence[float] = FARS) -> Figure:
    """For one false accept in a million use 0.43: false accepts allowed, threshold, and what share
    of genuine pairs is accepted then.

    Rows that the number of impostor pairs cannot resolve say so.
    """
    rows = threshold_rows(curve, fars)
    known = [row for row in rows if row[1] is not None]
    height = _ROW * (len(rows) + 3)
    figure = new_figure(height)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 2.2, -0.8)

    def put(column: int, row: float, text: str, color: str = INK, **style: object) -> None:
        place = ("left", "right", "right")[column]
        axes.text(_COLUMNS[column], row, text, ha=place, va="center", color=color, **style)

    headings = ("False accepts allowed", "Threshold", "Genuine pairs accepted")
    for column, heading in enumerate(headings):
        put(column, 0, heading, MUTED, fontsize=11)
    for number, (far, (allowed, threshold, tar)) in enumerate(zip(fars, rows, strict=True), 1):
        axes.axhline(number - 0.5, color=GRID, linewidth=0.8)
        known_row = threshold is not None and tar is not None
        put(0, number, allowed, INK if known_row else MUTED, fontsize=12)
        if known_row:
            put(1, number, f"{threshold:.3f}", fontsize=12, fontweight="bold")
            put(2, number, f"{tar:.2%}", fontsize=12)
        else:
            needs = f"needs {round(1 / far):,} impostor pairs, not {curve.impostor:,}"
            put(2, number, needs, MUTED, fontsize=11)
    axes.axhline(len(rows) + 0.5, color=GRID, linewidth=0.8)
    if known:
        allowed, threshold, tar = known[-1]
        words = allowed.replace("1 in ", "one false accept in ")
        text = f"For {words} use {threshold:.3f}: {tar:.2%} of the genuine pairs are accepted."
        # Left out of the layout, which would make the table narrower than its last line.
        put(0, len(rows) + 1.3, text, fontsize=11, in_layout=False)
    return figure
