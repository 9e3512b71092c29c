"""DET curves: both errors on probit axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.evaluation.metrics import Roc
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.plots.style import COLORS, INK, STYLES, figure_with_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)
_DRAWN = 2000


def det_figure(results: Mapping[str, PairsResult | Roc]) -> Figure:
    """DET curves (Martin et al., 1997), one for each name: false rejects over false accepts.

    Both axes are normal deviates: where the scores of both kinds are normal, the curve is a
    straight line, and good networks are told apart as well as poor ones. A dot marks the equal
    error rate. Nothing is drawn where fewer than one pair would be accepted or rejected.

    Raises:
        ValueError: where `results` is empty.
    """
    from scipy.stats import norm

    if not results:
        raise ValueError("`results` must hold at least one result. Received: none")
    figure, axes = figure_with_axes("False accept rate", "False reject rate")
    curves = {name: r.roc() if isinstance(r, PairsResult) else r for name, r in results.items()}
    # The smallest rates above 0 that the pairs can resolve.
    least = [
        1 / max(getattr(curve, kind) for curve in curves.values())
        for kind in ("impostor", "genuine")
    ]
    for i, (name, curve) in enumerate(curves.items()):
        far, frr = curve.far, 1 - curve.tar
        kept = np.flatnonzero((far > 0) & (far < 1) & (frr > 0) & (frr < 1))
        x, y = _thinned(norm.ppf(far[kept]), norm.ppf(frr[kept]))
        color = COLORS[i % len(COLORS)]
        axes.plot(
            x, y, linestyle=STYLES[i % len(STYLES)], color=color, linewidth=2.2,
            label=f"{name}  (EER {curve.eer:.2%})",
        )  # fmt: skip
        if 0 < curve.eer < 1:
            at = norm.ppf(curve.eer)
            axes.plot([at], [at], marker="o", color=color, markersize=6, linestyle="none")
    limits = (axes.set_xlim, axes.set_ylim)
    for axis, low, limit in zip((axes.xaxis, axes.yaxis), least, limits, strict=True):
        low = min(low, 0.05)
        ticks = [tick for tick in _TICKS if tick >= low / 1.5]
        # The labels of the two rarest would touch.
        labels = ["" if tick == 1e-5 and 1e-6 in ticks else f"{100 * tick:g}%" for tick in ticks]
        axis.set_ticks(norm.ppf(ticks), labels)
        limit(norm.ppf(low / 1.5), norm.ppf(0.55))
    figure.legend(
        loc="outside lower left", ncols=1 if len(curves) == 1 else 2, frameon=False, fontsize=10,
        labelcolor=INK, handlelength=2.6,
    )  # fmt: skip
    return figure


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that can be told apart as drawn, evenly along the curve.

    Most points of fifteen million pairs lie where both errors are large; of every thousandth one
    hardly any would be left where few pairs are accepted.
    """
    if len(x) <= _DRAWN:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _DRAWN)))
    kept = np.minimum(kept, len(x) - 1)
    return x[kept], y[kept]
