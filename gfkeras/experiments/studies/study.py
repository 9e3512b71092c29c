"""A pairs protocol measured again while one thing changes, and its plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.evaluation import PairsResult
from gfkeras.evaluation.metrics import FARS, far_name
from gfkeras.evaluation.plots.style import (
    COLORS,
    MUTED,
    STYLES,
    dress,
    legend_below,
    new_figure,
    percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of FaceNet's tables.
FACENET_FAR = 1e-3

# The two series of "dimension": the first numbers of an embedding; those along the principal
# directions of other faces.
FIRST, PRINCIPAL = "first", "principal"
AXES = {
    "jpeg": "JPEG quality",
    "size": "Image side in pixels",
    "dimension": "Dimensions",
    "bits": "Bits a number",
}

Interval = tuple[float, float] | None
Pick = Callable[[PairsResult], tuple[float, Interval]]
_LABELS = {FIRST: "first numbers", PRINCIPAL: "principal directions"}
_LOGARITHMIC = ("size", "dimension")


@dataclass(frozen=True, eq=False)
class StudyPoint:
    """One measurement of a study.

    Attributes:
        series: which way, where there are several; else the study's name.
        value: what was changed to.
        result: what the pairs protocol gave.
    """

    series: str
    value: int
    result: PairsResult


@dataclass(frozen=True, eq=False)
class Study:
    """The measurements of a study.

    Attributes:
        name: "jpeg", "size", "dimension" or "bits".
        reference: the same pairs with nothing changed.
        points: by series and value.
    """

    name: str
    reference: PairsResult
    points: list[StudyPoint]

    @property
    def axis(self) -> str:
        """The name of the values."""
        return AXES[self.name]

    @property
    def far(self) -> str:
        """The FAR to look at; see `readable_far`."""
        return readable_far(self.reference)

    def series(self) -> dict[str, list[StudyPoint]]:
        """The points by their series, values ascending."""
        found: dict[str, list[StudyPoint]] = {}
        for point in sorted(self.points, key=lambda point: point.value):
            found.setdefault(point.series, []).append(point)
        return found

    def to_json(self) -> dict[str, Any]:
        """The figures of each point, for `json.dump`."""
        kept = (
            "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "intervals", "pairs", "skipped",
        )  # fmt: skip
        return {
            "name": self.name,
            "axis": self.axis,
            "points": [
                {"series": point.series, "value": point.value}
                | {key: value for key, value in point.result.to_json().items() if key in kept}
                for points in self.series().values()
                for point in points
            ],
        }


def readable_far(result: PairsResult) -> str:
    """FaceNet's FAR, 1e-3, or the smallest above it that so many pairs can measure."""
    measured = [name for name, tar in result.tar_at_far.items() if tar is not None]
    if not measured:
        return far_name(max(FARS))
    return min(measured, key=lambda name: (float(name) < FACENET_FAR, float(name)))


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
    legend_below(figure, 3, handles=handles, labels=labels)
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
