"""Plots of 1:N identification: by rank, by threshold and by number of distractors."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.plots.style import figure_with_axes, legend, line_style, percent, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cmc_figure(curves: Mapping[str, npt.ArrayLike], ranks: int = 20) -> Figure:
    """Draws CMC curves by name: the share of probes whose mate is among the first 1 … `ranks`."""
    rates = {name: np.asarray(values, np.float64)[:ranks] for name, values in curves.items()}
    _require(rates)
    figure, axes = figure_with_axes("Rank", "Identification rate")
    least = 1.0
    for i, (name, rate) in enumerate(rates.items()):
        least = min(least, float(rate[0]))
        label = f"{name}  (rank-1 {rate[0]:.2%})"
        numbers = np.arange(1, len(rate) + 1)
        axes.plot(numbers, rate, label=plain(label), marker="o", markersize=4, **line_style(i))
    axes.set_xticks([rank for rank in (1, 5, 10, 15, 20, 50, 100) if rank <= ranks])
    _upper_part(axes, least)
    legend(axes, "lower right")
    return figure


def distractor_figure(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draws `MegaFaceResult.rank_1` over the number of distractors (logarithmic), by name."""
    _require(curves)
    figure, axes = figure_with_axes("Distractors (log)", "Rank-1 identification rate")
    least = 1.0
    for i, (name, curve) in enumerate(curves.items()):
        sizes = sorted(curve)
        rates = [curve[size] for size in sizes]
        least = min(least, *rates)
        label = f"{name}  ({rates[-1]:.2%} of {sizes[-1]:,})"
        axes.plot(sizes, rates, label=plain(label), marker="o", markersize=4, **line_style(i))
    axes.set_xscale("log")
    _upper_part(axes, least)
    legend(axes, "lower left")
    return figure


def identification_error_figure(
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
) -> Figure:
    """Draws open-set identification by name: FNIR over FPIR, both axes logarithmic.

    `curves` are (FPIR, FNIR), such as `identification_errors` returns.
    """
    _require(curves)
    figure, axes = figure_with_axes(
        "False positive identification rate (log)", "False negative identification rate (log)"
    )
    low = [1.0, 1.0]
    for i, (name, columns) in enumerate(curves.items()):
        fpir, fnir = (np.asarray(column, np.float64) for column in columns)
        kept = (fpir > 0) & (fnir > 0)
        for axis, values in enumerate((fpir[kept], fnir[kept])):
            low[axis] = min(low[axis], float(values.min(initial=1.0)))
        axes.step(fpir[kept], fnir[kept], where="post", label=plain(name), **line_style(i))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(low[0], 0.1), 1)
    axes.set_ylim(min(low[1] / 1.5, 0.1), 1.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent)
        axis.set_minor_formatter(lambda *_: "")
    legend(axes, "best")
    return figure


def _require(curves: Mapping[str, Sized]) -> None:
    if not curves:
        raise ValueError("`curves` must hold at least one curve. Received: no curves")
    for name, curve in curves.items():
        if not len(curve):
            raise ValueError(f"`curves` must have points. Received: no points for {name!r}")


def _upper_part(axes: Axes, least: float) -> None:
    """Limits the axis to its upper part if all values are there. The rest would be empty."""
    bottom = 0.0 if least < 0.8 else 1 - 1.6 * max(1 - least, 0.005)
    axes.set_ylim(bottom, 1 + 0.03 * (1 - bottom))
    axes.yaxis.set_major_formatter(percent)
