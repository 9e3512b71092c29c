"""How a training went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.evaluation.plots.style import COLORS, STYLES, dress, legend, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Losses, and beside them accuracies, over the epochs.

    Args:
        rows: one for each epoch as `keras.callbacks.CSVLogger` writes them: "epoch" (counted
            from 0) and any of the logs. Names ending in "loss" go left, in "accuracy" right;
            other names, and values that are not finite numbers, are left out.

    Raises:
        ValueError: where no row holds a loss or an accuracy.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        epoch = _number(row.get("epoch", number)) or 0.0
        for name, value in row.items():
            if name.endswith(("loss", "accuracy")) and (y := _number(value)) is not None:
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
    figure = new_figure()
    for place, (label, names) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        dress(axes, "Epoch", label)
        for i, name in enumerate(names):
            points = np.array(series[name])
            style, color = STYLES[i % len(STYLES)], COLORS[i % len(COLORS)]
            marker = "o" if len(points) < 40 else None
            text = name.replace("_", " ")
            axes.plot(
                *points.T, linestyle=style, color=color, linewidth=2, label=text, marker=marker,
                markersize=3.5,
            )  # fmt: skip
        axes.locator_params(axis="x", integer=True)
        if label == "Accuracy":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(percent)
        else:
            axes.set_ylim(bottom=0)
        legend(axes, "best")
    return figure


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
