"""Decision boundaries of two classes, as in figure 5 of the ArcFace paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.evaluation.plots.style import BLUE, INK, MUTED, VERMILION, new_figure, set_title
from gfkeras.experiments.figures.margins import chosen_heads, grouped, head_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEGREES = np.arange(0.0, 121.0)
# The first weight is longer than the second. Only a head without normalised weights notices.
LENGTHS = (1.5, 1.0)
_COLUMNS, _PANEL = 4, 2.75


@dataclass(frozen=True, eq=False)
class DecisionBoundary:
    """Where a head is satisfied with an embedding of the first and of the second class.

    `first`, (T, T) float64, is the lead of the first class's logit, which has the margin, over the
    other logit. Rows are θ1 to the first center and columns θ2 to the second, both in `DEGREES`.
    `second` is the same for the second class. `head` and `setting` are those of `MarginCurve`.
    """

    head: str
    setting: str
    first: np.ndarray
    second: np.ndarray

    @property
    def gap(self) -> float:
        """90° less the largest θ1, to a degree, that satisfies the first class at θ2 = 90°."""
        return 90.0 - float(DEGREES[self.first[:, DEGREES == 90.0][:, 0] >= -1e-5].max())


def decision_boundaries(names: Sequence[str] | None = None) -> list[DecisionBoundary]:
    """Returns the boundaries of the named heads with their default margins. All by default.

    The heads compute them: an embedding x has each pair of angles to two centers, and the label of
    either. `LENGTHS` are the lengths of the two weights. Raises ValueError for an unknown name.
    """
    theta = np.radians(DEGREES)
    count, zero = len(theta), np.zeros(len(DEGREES))
    # x is fixed, and there are as many centers at its sides as there are angles.
    centers = np.concatenate(
        [
            LENGTHS[0] * np.stack([np.cos(theta), np.sin(theta), zero], axis=1),
            LENGTHS[1] * np.stack([np.cos(theta), zero, np.sin(theta)], axis=1),
        ]
    ).astype(np.float32)
    found = []
    for name, setting, arguments, norm in chosen_heads(names):
        head = head_at(name, arguments, centers)
        x = np.zeros((count, 3), np.float32)
        x[:, 0] = norm
        labels = np.arange(count, dtype=np.int32)
        first, second = (_numpy(head(x, labels + start)) for start in (0, count))
        lead = first[labels, labels][:, None] - first[:, count:]
        other = second[labels, labels + count][:, None] - second[:, :count]
        if name == "Softmax":
            setting = f"‖W₁‖ = {LENGTHS[0]:g} ‖W₂‖"
        found.append(DecisionBoundary(name, setting, lead, other.T))
    return found


def boundary_figure(boundaries: Sequence[DecisionBoundary]) -> Figure:
    """Draws a panel for each head. Heads with equal boundaries share one.

    In the coloured areas, an embedding of the class is satisfied: its logit leads despite the
    margin. The white gap between the areas is the margin, which no embedding of either class may
    enter. The dashed line is θ1 = θ2. Raises ValueError without boundaries.
    """
    if not boundaries:
        raise ValueError("`boundaries` must hold at least one. Received: none")
    merged = _merged(boundaries)
    columns = min(_COLUMNS, len(merged))
    rows = math.ceil(len(merged) / columns)
    figure = new_figure(1.0 + (_PANEL + 0.35) * rows, max(_PANEL * columns + 0.4, 3.6))
    title = "Decision boundaries of two classes, from the heads' logits"
    if columns > 1:
        title += ". White: the margin"
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    for place, (title, boundary) in enumerate(merged, start=1):
        axes: Any = figure.add_subplot(rows, columns, place)
        for lead, color in ((boundary.first.T, BLUE), (boundary.second.T, VERMILION)):
            # Contours need a value on both sides of 0, so logits are compared by sign alone.
            axes.contourf(DEGREES, DEGREES, lead, levels=[0, np.inf], colors=[color], alpha=0.22)
            axes.contour(DEGREES, DEGREES, lead, levels=[0], colors=[color], linewidths=1.8)
        axes.plot(DEGREES[[0, -1]], DEGREES[[0, -1]], color=MUTED, linewidth=1, linestyle="--")
        set_title(axes, title)
        axes.set(
            aspect="equal", xlim=(0, 120), ylim=(0, 120), xticks=range(0, 121, 30),
            yticks=range(0, 121, 30),
        )  # fmt: skip
        axes.tick_params(colors=MUTED, labelsize=10, length=0)
        for spine in axes.spines.values():
            spine.set_color(MUTED)
            spine.set_linewidth(0.6)
        if place > len(merged) - columns:
            axes.set_xlabel("θ₁ (degrees)", color=MUTED, fontsize=11)
        if place % columns == 1 or columns == 1:
            axes.set_ylabel("θ₂ (degrees)", color=MUTED, fontsize=11)
        axes.text(0.1, 0.86, "class 1", color=INK, fontsize=10, transform=axes.transAxes)
        axes.text(
            0.95, 0.08, "class 2", color=INK, fontsize=10, transform=axes.transAxes, ha="right"
        )
    return figure


def _merged(boundaries: Sequence[DecisionBoundary]) -> list[tuple[str, DecisionBoundary]]:
    found = []
    for alike in grouped(boundaries, lambda a, b: np.array_equal(a.first > 0, b.first > 0)):
        names = ", ".join(dict.fromkeys(boundary.head for boundary in alike))
        found.append((f"{textwrap.fill(names, 20)}\n{alike[0].setting}", alike[0]))
    return found


def _numpy(logits: Any) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(logits).astype(np.float64)
