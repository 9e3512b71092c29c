"""How groups are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.plots.style import BLUE, INK, figure_with_axes, legend, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def group_usage_chart(counts: npt.ArrayLike, title: str = "Group usage") -> Figure:
    """Share of the faces in each group, with how many groups are really used in the title.

    Args:
        counts: (K,) how many faces each group took, or mean probabilities.
        title: begins the title.
    """
    counts = np.asarray(counts, dtype=np.float64)
    effective = effective_groups(counts)
    shares = counts / counts.sum()
    figure, axes = figure_with_axes("Group", "Share of the faces")
    axes.bar(np.arange(len(shares)), shares, width=0.8, color=BLUE)
    label = f"Even use, {1 / len(shares):.1%} each"
    axes.axhline(1 / len(shares), color=INK, linestyle="--", linewidth=1.5, label=label)
    axes.set_title(
        f"{title}: {effective:.1f} effective groups of {len(shares)}",
        loc="left",
        color=INK,
        fontsize=12,
        fontweight="bold",
    )
    axes.set_xlim(-0.7, len(shares) - 0.3)
    axes.set_ylim(0, 1.25 * max(float(shares.max()), 1 / len(shares)))
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter(percent)
    axes.grid(False, axis="x")
    legend(axes, "upper right")
    return figure
