"""Shared style of all plots, and saving plots to files."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.errors import require
from gfkeras.files import replacing
from gfkeras.safe_text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
INK, MUTED, GRID = "#1c2530", "#5b6673", "#dde2e8"
# In a web page, these colours become the page's own, so that a plot follows the dark mode.
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--line"}
WIDTH, HEIGHT, DPI = 7.2, 4.0, 100


def new_figure(height: float = HEIGHT, width: float = WIDTH) -> Figure:
    """Returns an empty plot. `height` and `width` are in inches of `DPI` points."""
    figure_class = require("matplotlib.figure", "plots").Figure
    # The constrained layout makes space for legends and titles outside the axes.
    figure: Figure = figure_class(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure


def figure_with_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """Returns a plot with one pair of styled axes, with the labels `x` and `y`."""
    figure = new_figure()
    axes = figure.add_subplot()
    dress(axes, x, y)
    return figure, axes


def dress(axes: Axes, x: str, y: str) -> None:
    """Styles axes: a grid, a bottom line and labels, and nothing else."""
    axes.set_xlabel(x, color=MUTED, fontsize=12)
    axes.set_ylabel(y, color=MUTED, fontsize=12)
    axes.tick_params(colors=MUTED, labelsize=11, length=0, which="both")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def set_title(axes: Axes, title: str) -> None:
    """Writes a title above the left corner of the axes."""
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")


def legend(axes: Axes, place: str) -> None:
    """Adds a legend without a frame. `place` is a location that matplotlib knows."""
    axes.legend(loc=place, frameon=False, fontsize=11, labelcolor=INK, handlelength=2.6)


def legend_below(figure: Figure, columns: int, **more: Any) -> None:
    """Adds a legend below the axes, because curves of good models leave no corner free."""
    figure.legend(
        loc="outside lower left", ncols=columns, frameon=False, fontsize=10, labelcolor=INK,
        **{"handlelength": 2.6, **more},
    )  # fmt: skip


def plain(text: str) -> str:
    """Returns a name that matplotlib draws letter by letter.

    Matplotlib reads text between dollar signs as a formula, and it leaves labels that begin with
    "_" out of legends.
    """
    # A hair space in front hides a leading underscore and is invisible in the plot.
    shown = printable(text).replace("$", r"\$")
    return f"\u200a{shown}" if shown.startswith("_") else shown


def line_style(number: int) -> dict[str, Any]:
    """Returns the colour, dashes and width of curve `number`."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": STYLES[number % len(STYLES)],
        "linewidth": 2.2,
    }


def percent(value: float, _position: float) -> str:
    """Formats a tick as a percentage."""
    return f"{100 * value:.3g}%"


def save_figure(figure: Figure, path: str | os.PathLike[str], title: str = "") -> Path:
    """Writes a plot as .png (2 pixels per point) or .svg, whole or not at all.

    Text in an .svg stays text, so people can search it and screen readers can read it. `title`
    goes above the plot. It names the model and the data, which the plot does not know.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`path` must end in .png or .svg. Received: path={path}")
    matplotlib = require("matplotlib", "plots")
    # Without a fixed salt, matplotlib puts random names into an SVG.
    settings = {"svg.fonttype": "none", "svg.hashsalt": path.name}
    if title:
        look = {"ha": "left", "color": INK, "fontsize": 13, "fontweight": "bold"}
        figure.suptitle(plain(title), x=0.01, **look)
    with replacing(path) as temporary, matplotlib.rc_context(settings):
        figure.savefig(temporary, dpi=2 * DPI, facecolor="white", metadata=_undated(path.suffix))
    return path


def figure_svg(figure: Figure, title: str) -> str:
    """Returns an `<svg>` element for an HTML page. It follows the page's font and theme.

    The ink, muted and grid colours become the CSS variables --ink, --muted and --line. The
    background is transparent. A screen reader speaks `title` instead of the image.
    """
    matplotlib = require("matplotlib", "plots")
    stream = io.StringIO()
    # The salt keeps the names in one SVG different from those in the next SVG of the page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(stream, format="svg", transparent=True, metadata=_undated(".svg"))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for color, variable in THEME.items():
        svg = re.sub(color, f"var({variable}, {color})", svg, flags=re.IGNORECASE)
    # Without width and height, the style sheet of the page sets the size.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = printable(title).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def write_figures(
    folder: str | os.PathLike[str],
    figures: Mapping[str, Figure],
    suffix: str = ".png",
    title: str = "",
) -> list[Path]:
    """Writes each plot as folder/NAME.png, with `title` above it, and returns the files."""
    target = Path(folder)
    return [
        save_figure(figure, target / f"{name}{suffix}", title) for name, figure in figures.items()
    ]


def _undated(suffix: str) -> dict[str, Any]:
    # Leave the date and the version out, so that equal plots give equal files.
    return {"Date": None} if suffix.lower() == ".svg" else {"Software": None}
