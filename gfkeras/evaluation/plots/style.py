"""What all charts share: colours, sizes, axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfkeras.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
INK, MUTED, GRID = "#1c2530", "#5b6673", "#dde2e8"
# In a page these colours give way to the page's own, so that a chart follows its theme.
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--line"}
WIDTH, HEIGHT, DPI = 7.2, 4.0, 100


def new_figure(height: float = HEIGHT, width: float = WIDTH) -> Figure:
    """An empty figure, of the usual width by default; both in inches of `DPI` points."""
    figure_class = require("matplotlib.figure", "plots").Figure
    figure: Figure = figure_class(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure


def figure_with_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, dressed."""
    figure = new_figure()
    axes = figure.add_subplot()
    dress(axes, x, y)
    return figure, axes


def dress(axes: Axes, x: str, y: str) -> None:
    """Quiet axes: a grid, a line below, labels."""
    axes.set_xlabel(x, color=MUTED, fontsize=11)
    axes.set_ylabel(y, color=MUTED, fontsize=11)
    axes.tick_params(colors=MUTED, labelsize=10, length=0, which="both")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def legend(axes: Axes, place: str) -> None:
    """A legend without a frame, where matplotlib calls the place so."""
    axes.legend(loc=place, frameon=False, fontsize=10, labelcolor=INK, handlelength=2.6)


def percent(value: float, _position: float) -> str:
    """A formatter of ticks."""
    return f"{100 * value:.3g}%"
