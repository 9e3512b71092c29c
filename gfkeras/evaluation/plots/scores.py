"""Histograms of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.metrics import Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots.style import BLUE, INK, VERMILION, figure_with_axes, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def score_histogram(result: PairsResult | Roc, threshold: float | None = None) -> Figure:
    """Scores of genuine and of impostor pairs, each as a share of its kind, and a threshold.

    Args:
        result: whose scores; of a ROC, which has them all, of any number of pairs.
        threshold: to be marked; that of a `PairsResult` by default.
    """
    figure, axes = figure_with_axes("Similarity", "Share of the pairs of a kind")
    if isinstance(result, PairsResult):
        threshold = result.threshold if threshold is None else threshold
        result = result.roc()
    # The first threshold lies above every score.
    scores = result.thresholds[1:]
    low, high = float(scores[-1]), float(scores[0])
    pad = 0.02 * (high - low) or 0.01
    edges = np.linspace(low - pad, high + pad, 61)
    impostor, genuine = (
        np.histogram(scores, edges, weights=np.diff(rates))[0] for rates in (result.far, result.tar)
    )
    draw_kinds(
        axes, edges, impostor, genuine, f"Impostor ({result.impostor:,})",
        f"Genuine ({result.genuine:,})",
    )  # fmt: skip
    if threshold is not None:
        label = f"Threshold {threshold:.3f}"
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])
    # Below: neither a peak nor the threshold's line leaves a corner free for certain.
    figure.legend(
        loc="outside lower left", ncols=3, frameon=False, fontsize=10, labelcolor=INK,
        handlelength=2.6,
    )  # fmt: skip
    return figure


def draw_kinds(
    axes: Axes,
    edges: npt.NDArray[np.float64],
    impostor: npt.NDArray[np.float64],
    genuine: npt.NDArray[np.float64],
    impostor_label: str,
    genuine_label: str,
) -> None:
    """Both kinds of pairs over the same bins, told apart by colour and, in grey, by hatching.

    Args:
        axes: to draw on.
        edges: (B + 1,) of the bins.
        impostor, genuine: (B,) share of the pairs of the kind in each bin.
        impostor_label, genuine_label: for the legend.
    """
    for shares, color, hatch, label in (
        (impostor, VERMILION, "////", impostor_label),
        (genuine, BLUE, None, genuine_label),
    ):
        axes.stairs(
            shares, edges, fill=True, facecolor=(color, 0.22), edgecolor=(color, 0.55),
            linewidth=0, hatch=hatch,
        )  # fmt: skip
        axes.stairs(shares, edges, color=color, linewidth=1.8)
        # For the legend: a box as the bars are.
        axes.fill_between(
            [], [], facecolor=(color, 0.22), edgecolor=color, hatch=hatch, label=label
        )
    axes.yaxis.set_major_formatter(percent)
