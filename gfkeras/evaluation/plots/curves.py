"""ROC and DET curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.errors import require
from gfkeras.evaluation.metrics import Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots.style import figure_with_axes, legend_below, line_style, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points drawn per curve. A width of 720 pixels cannot show more.
DRAWN = 2000

_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)


def roc_figure(results: Mapping[str, PairsResult | Roc]) -> Figure:
    """Draws ROC curves, one for each name: TAR over FAR on a logarithmic axis.

    The FAR axis begins at the smallest FAR that the number of impostor pairs can resolve. The TAR
    axis begins at 0 unless all curves are above 0.8. Curves are steps, as measured, and not
    smoothed.
    """
    curves = _curves(results)
    figure, axes = figure_with_axes("False accept rate (log)", "True accept rate")
    lowest = min(0.1, *(1 / curve.impostor for curve in curves.values()))
    least = 1.0
    for i, (name, curve) in enumerate(curves.items()):
        # Several points can share one FAR. The last of them has the largest TAR.
        last = np.append(np.flatnonzero(np.diff(curve.far) > 0), len(curve.far) - 1)
        start = max(lowest, 1 / curve.impostor)
        grid = np.geomspace(start, 1, DRAWN)
        # Each FAR of the grid takes the last measured point below it. This draws steps.
        tar = curve.tar[last][np.searchsorted(curve.far[last], grid, side="right") - 1]
        least = min(least, float(tar[0]))
        label = f"{name}  (AUC {curve.auc:.4f})"
        # Keep the first curve on top. Later curves would hide it where they agree.
        axes.plot(grid, tar, **line_style(i), label=plain(label), zorder=4 - i / (len(curves) + 1))
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    # If every curve is near the top, show only that part. The rest of the plot would be empty.
    bottom = 0.0 if least < 0.8 else 1 - 2 * max(1 - least, 0.005)
    axes.set_ylim(bottom, 1 + 0.02 * (1 - bottom))
    legend_below(figure, 1 if len(curves) == 1 else 2)
    return figure


def det_figure(results: Mapping[str, PairsResult | Roc]) -> Figure:
    """Draws DET curves (Martin et al., 1997), one for each name: false rejects over false accepts.

    Both axes are normal deviates. The curve is a straight line if the scores of both kinds are
    normally distributed, and good models stay as distinguishable as poor ones. A dot marks the
    equal error rate. Rates below one pair are not drawn.
    """
    norm = require("scipy.stats", "plots").norm

    curves = _curves(results)
    figure, axes = figure_with_axes("False accept rate", "False reject rate")
    # The smallest rates above 0 that the pairs can resolve.
    least = [
        1 / max(getattr(curve, kind) for curve in curves.values())
        for kind in ("impostor", "genuine")
    ]
    for i, (name, curve) in enumerate(curves.items()):
        far, frr = curve.far, 1 - curve.tar
        # The normal deviates of 0 and 1 are infinite.
        kept = np.flatnonzero((far > 0) & (far < 1) & (frr > 0) & (frr < 1))
        x, y = _thinned(norm.ppf(far[kept]), norm.ppf(frr[kept]))
        style = line_style(i)
        axes.plot(x, y, **style, label=f"{plain(name)}  (EER {curve.eer:.2%})")
        if 0 < curve.eer < 1:
            at = norm.ppf(curve.eer)
            axes.plot([at], [at], marker="o", color=style["color"], markersize=6, linestyle="none")
    limits = (axes.set_xlim, axes.set_ylim)
    for axis, low, limit in zip((axes.xaxis, axes.yaxis), least, limits, strict=True):
        low = min(low, 0.05)
        ticks = [tick for tick in _TICKS if tick >= low / 1.5]
        # Drop one label: the two smallest ticks are so close that their labels would touch.
        labels = ["" if tick == 1e-5 and 1e-6 in ticks else f"{100 * tick:g}%" for tick in ticks]
        axis.set_ticks(norm.ppf(ticks), labels)
        limit(norm.ppf(low / 1.5), norm.ppf(0.55))
    legend_below(figure, 1 if len(curves) == 1 else 2)
    return figure


def _curves(results: Mapping[str, PairsResult | Roc]) -> dict[str, Roc]:
    if not results:
        raise ValueError("`results` must hold at least one result. Received: no results")
    return {name: r.curve if isinstance(r, PairsResult) else r for name, r in results.items()}


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns points that are distinguishable in the plot, evenly spaced along the curve.

    With 15 million pairs, most points are at large error rates. Keeping every thousandth point
    would leave hardly any where few pairs are accepted.
    """
    if len(x) <= DRAWN:
        return x, y
    # Choose points at equal steps of the distance along the curve.
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], DRAWN)))
    kept = np.minimum(kept, len(x) - 1)
    return x[kept], y[kept]
