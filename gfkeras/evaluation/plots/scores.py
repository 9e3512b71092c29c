"""Histograms of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation.metrics import Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots.style import BLUE, INK, VERMILION, figure_with_axes, percent

if TYPE_CHECKING:
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
    for kind, color in (("Impostor", VERMILION), ("Genuine", BLUE)):
        rates = result.far if kind == "Impostor" else result.tar
        count = result.impostor if kind == "Impostor" else result.genuine
        shares = np.histogram(scores, edges, weights=np.diff(rates))[0]
        axes.stairs(shares, edges, fill=True, color=color, alpha=0.3)
        axes.stairs(shares, edges, color=color, linewidth=1.8, label=f"{kind} ({count:,})")
    if threshold is not None:
        label = f"Threshold {threshold:.3f}"
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_formatter(percent)
    # Below: neither a peak nor the threshold's line leaves a corner free for certain.
    figure.legend(
        loc="outside lower left", ncols=3, frameon=False, fontsize=10, labelcolor=INK,
        handlelength=2.6,
    )  # fmt: skip
    return figure
