"""ROC curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation.metrics import Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots.style import COLORS, INK, STYLES, figure_with_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points drawn of a curve; more could not be told apart on 720 pixels.
DRAWN = 2000


def roc_figure(results: Mapping[str, PairsResult | Roc]) -> Figure:
    """ROC curves, one for each name: TAR over FAR on a logarithmic axis.

    The axis begins at the smallest FAR that the number of impostor pairs can resolve, and TAR
    at 0 unless all curves lie above 0.8. Curves are steps, as measured; nothing is smoothed.

    Raises:
        ValueError: where `results` is empty.
    """
    if not results:
        raise ValueError("`results` must hold at least one result. Received: none")
    figure, axes = figure_with_axes("False accept rate (log)", "True accept rate")
    curves = {name: r.roc() if isinstance(r, PairsResult) else r for name, r in results.items()}
    lowest = min(1 / curve.impostor for curve in curves.values())
    lowest = min(lowest, 0.1)
    least = 1.0
    for i, (name, curve) in enumerate(curves.items()):
        # Of the points of one FAR the last has the largest TAR.
        last = np.append(np.flatnonzero(np.diff(curve.far) > 0), len(curve.far) - 1)
        start = max(lowest, 1 / curve.impostor)
        grid = np.geomspace(start, 1, DRAWN)
        tar = curve.tar[last][np.searchsorted(curve.far[last], grid, side="right") - 1]
        least = min(least, float(tar[0]))
        # The curve on top is the first: others drawn later would hide it where they agree.
        axes.plot(
            grid,
            tar,
            linestyle=STYLES[i % len(STYLES)],
            color=COLORS[i % len(COLORS)],
            linewidth=2.2,
            label=f"{name}  (AUC {curve.auc:.4f})",
            zorder=4 - i / (len(curves) + 1),
        )
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    # Where every curve is near the top, the upper part alone, for nothing else is seen there.
    bottom = 0.0 if least < 0.8 else 1 - 2 * max(1 - least, 0.005)
    axes.set_ylim(bottom, 1 + 0.02 * (1 - bottom))
    # Below the axes: curves of good networks leave no corner free for certain.
    figure.legend(
        loc="outside lower left",
        ncols=1 if len(curves) == 1 else 2,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        handlelength=2.6,
    )
    return figure
