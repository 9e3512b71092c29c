"""The picture of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation import PairsResult
from gfkeras.evaluation.plots.style import COLORS, INK, MUTED, STYLES, dress, new_figure, percent
from gfkeras.experiments.studies.study import FIRST, PRINCIPAL, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float] | None
Pick = Callable[[PairsResult], tuple[float, Interval]]
_LABELS = {FIRST: "first numbers", PRINCIPAL: "principal directions"}
_LOGARITHMIC = ("size", "dimension")


def study_figure(study: Study) -> Figure:
    """Accuracy, and beside it TAR at FAR, over the values; bands are 95 % intervals.

    The dashed line is the unchanged network on unchanged images.

    Raises:
        ValueError: for a study without points.
    """
    if not study.points:
        raise ValueError("`study` must have at least one point. Received: none")
    figure = new_figure()
    far = study.far
    panels: Mapping[str, Pick] = {
        "Accuracy": lambda r: (r.accuracy, (r.intervals or {}).get("accuracy")),
        f"TAR at FAR {far}": lambda r: (
            r.tar_at_far.get(far) or 0.0, (r.intervals or {}).get("tar_at_far", {}).get(far),
        ),
    }  # fmt: skip
    for place, (label, pick) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        dress(axes, study.axis, label)
        _panel(axes, study, pick)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=10,
        labelcolor=INK, handlelength=2.6,
    )  # fmt: skip
    return figure


def _panel(axes: Axes, study: Study, pick: Pick) -> None:
    for i, (series, points) in enumerate(study.series().items()):
        x = [point.value for point in points]
        figures = [pick(point.result) for point in points]
        color = COLORS[i % len(COLORS)]
        axes.plot(
            x, [y for y, _ in figures], color=color, linestyle=STYLES[i % len(STYLES)],
            linewidth=2.2, marker="o", markersize=4.5, label=_LABELS.get(series, "measured"),
        )  # fmt: skip
        if all(interval is not None for _, interval in figures):
            bounds = np.array([interval for _, interval in figures])
            axes.fill_between(x, bounds[:, 0], bounds[:, 1], color=color, alpha=0.15, linewidth=0)
    reference, _ = pick(study.reference)
    axes.axhline(reference, color=MUTED, linestyle="--", linewidth=1.5, label="nothing changed")
    if study.name in _LOGARITHMIC:
        axes.set_xscale("log", base=2)
    ticks = sorted({point.value for point in study.points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(percent)
