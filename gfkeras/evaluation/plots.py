"""Charts as matplotlib Figures, made without pyplot and so without any global state.

Colours are Okabe and Ito's, which people with any form of colour blindness can tell apart;
line styles and labels tell the same again. Texts are sized for a width of 720 pixels.
Matplotlib is an optional dependency: `pip install 'gfkeras[plots]'`.
"""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gfkeras.errors import require
from gfkeras.evaluation.metrics import Roc, effective_groups
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
INK, MUTED, GRID = "#1c2530", "#5b6673", "#dde2e8"
# In a page these colours give way to the page's own, so that a chart follows its theme.
_THEME = {INK: "--ink", MUTED: "--muted", GRID: "--line"}
_WIDTH, _HEIGHT, _DPI = 7.2, 4.0, 100
# Points drawn of a curve; more could not be told apart on 720 pixels.
_DRAWN = 2000


def roc_figure(results: Mapping[str, PairsResult | Roc]) -> Figure:
    """ROC curves, one for each name: TAR over FAR on a logarithmic axis.

    The axis begins at the smallest FAR that the number of impostor pairs can resolve, and TAR
    at 0 unless all curves lie above 0.8. Curves are steps, as measured; nothing is smoothed.

    Raises:
        ValueError: where `results` is empty.
    """
    if not results:
        raise ValueError("`results` must hold at least one result. Received: none")
    figure, axes = _figure("False accept rate (log)", "True accept rate")
    curves = {name: r.roc() if isinstance(r, PairsResult) else r for name, r in results.items()}
    lowest = min(1 / curve.impostor for curve in curves.values())
    lowest = min(lowest, 0.1)
    least = 1.0
    for i, (name, curve) in enumerate(curves.items()):
        # Of the points of one FAR the last has the largest TAR.
        last = np.append(np.flatnonzero(np.diff(curve.far) > 0), len(curve.far) - 1)
        start = max(lowest, 1 / curve.impostor)
        grid = np.geomspace(start, 1, _DRAWN)
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


def score_histogram(result: PairsResult) -> Figure:
    """Scores of genuine and of impostor pairs, each as a share of its kind, and the threshold."""
    figure, axes = _figure("Similarity", "Share of the pairs of a kind")
    low, high = float(result.scores.min()), float(result.scores.max())
    pad = 0.02 * (high - low) or 0.01
    edges = np.linspace(low - pad, high + pad, 61)
    for same, name, color in ((False, "Impostor", VERMILION), (True, "Genuine", BLUE)):
        scores = result.scores[result.same == same]
        shares = np.histogram(scores, edges)[0] / len(scores)
        label = f"{name} ({len(scores):,})"
        axes.stairs(shares, edges, fill=True, color=color, alpha=0.3)
        axes.stairs(shares, edges, color=color, linewidth=1.8, label=label)
    label = f"Threshold {result.threshold:.3f}"
    axes.axvline(result.threshold, color=INK, linestyle="--", linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_formatter(_percent)
    _legend(axes, "best")
    return figure


def group_usage_chart(counts: npt.ArrayLike, title: str = "Group usage") -> Figure:
    """Share of the faces in each group, with how many groups are really used in the title.

    Args:
        counts: (K,) how many faces each group took, or mean probabilities.
        title: begins the title.
    """
    counts = np.asarray(counts, dtype=np.float64)
    effective = effective_groups(counts)
    shares = counts / counts.sum()
    figure, axes = _figure("Group", "Share of the faces")
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
    axes.yaxis.set_major_formatter(_percent)
    axes.grid(False, axis="x")
    _legend(axes, "upper right")
    return figure


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Losses, and beside them accuracies, over the epochs.

    Args:
        rows: one for each epoch as `keras.callbacks.CSVLogger` writes them: "epoch" (counted
            from 0) and any of the logs. Names ending in "loss" go left, in "accuracy" right;
            other names, and values that are not finite numbers, are left out.

    Raises:
        ValueError: where no row holds a loss or an accuracy.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        epoch = _number(row.get("epoch", number)) or 0.0
        for name, value in row.items():
            if name.endswith(("loss", "accuracy")) and (y := _number(value)) is not None:
                series.setdefault(name, []).append((epoch + 1, y))
    panels = [
        (label, chosen)
        for label, ending in (("Loss", "loss"), ("Accuracy", "accuracy"))
        if (chosen := [name for name in series if name.endswith(ending)])
    ]
    if not panels:
        raise ValueError(
            "`rows` must hold a column ending in loss or accuracy. "
            f"Received: {len(rows)} rows, columns {sorted({n for row in rows for n in row})}"
        )
    figure = _new_figure()
    for place, (label, names) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        _dress(axes, "Epoch", label)
        for i, name in enumerate(names):
            points = np.array(series[name])
            style, color = STYLES[i % len(STYLES)], COLORS[i % len(COLORS)]
            marker = "o" if len(points) < 40 else None
            text = name.replace("_", " ")
            axes.plot(
                *points.T, linestyle=style, color=color, linewidth=2, label=text, marker=marker,
                markersize=3.5,
            )  # fmt: skip
        axes.locator_params(axis="x", integer=True)
        if label == "Accuracy":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(_percent)
        else:
            axes.set_ylim(bottom=0)
        _legend(axes, "best")
    return figure


def face_grid(
    images: npt.ArrayLike, titles: Sequence[str] | None = None, columns: int = 8
) -> Figure:
    """Faces in rows, each with its title below.

    Args:
        images: (N, H, W, 3), uint8 or float, 0..255.
        titles: N short texts.
        columns: faces in a row.
    """
    pictures = as_uint8(images)
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(
            f"`titles` must have one text for each of {len(pictures)} images. "
            f"Received: {len(titles)}"
        )
    columns = max(1, min(columns, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    cell = _WIDTH / columns
    figure = _new_figure(rows * cell * (1.2 if titles else 1.0))
    for i, picture in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(picture)
        axes.set_axis_off()
        if titles is not None:
            axes.text(
                0.5, -0.04, titles[i], transform=axes.transAxes, ha="center", va="top",
                fontsize=9, color=INK,
            )  # fmt: skip
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes the figure as .png (two pixels to the point) or .svg, whole or not at all."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`path` must end in .png or .svg. Received: path={path}")
    matplotlib = require("matplotlib", "plots")
    # Without a salt the names inside an SVG are random.
    with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(temporary, dpi=2 * _DPI, facecolor="white", metadata=_undated(path.suffix))
    return path


def figure_svg(figure: Figure, title: str) -> str:
    """An `<svg>` element to stand inside an HTML page, taking its font and its theme.

    The ink, muted and grid colours become the CSS variables --ink, --muted and --line.

    Args:
        figure: what to draw; its background is left out.
        title: what a screen reader says in place of the picture.
    """
    matplotlib = require("matplotlib", "plots")
    stream = io.StringIO()
    # The salt makes the names inside one picture differ from those of the next.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(stream, format="svg", transparent=True, metadata=_undated(".svg"))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for color, variable in _THEME.items():
        svg = re.sub(color, f"var({variable}, {color})", svg, flags=re.IGNORECASE)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def image_data_uri(image: npt.ArrayLike) -> str:
    """One picture (H, W, 3), 0..255, as a JPEG inside a data: address."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(as_uint8(np.asarray(image)[None])[0]).save(stream, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def as_uint8(images: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Pictures (N, H, W, 3) of 0..255 as uint8, floats rounded.

    Raises:
        ValueError: for another shape or no picture.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[-1] != 3 or not len(array):
        raise ValueError(f"`images` must be (N, H, W, 3), N above 0. Received: {array.shape}")
    if array.dtype == np.uint8:
        return array
    return np.clip(np.rint(array), 0, 255).astype(np.uint8)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _percent(value: float, _position: float) -> str:
    return f"{100 * value:.3g}%"


def _undated(suffix: str) -> dict[str, Any]:
    # The same figures give the same file.
    return {"Date": None} if suffix.lower() == ".svg" else {"Software": None}


def _new_figure(height: float = _HEIGHT) -> Figure:
    figure_class = require("matplotlib.figure", "plots").Figure
    figure: Figure = figure_class(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    return figure


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = _new_figure()
    axes = figure.add_subplot()
    _dress(axes, x, y)
    return figure, axes


def _dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, color=MUTED, fontsize=11)
    axes.set_ylabel(y, color=MUTED, fontsize=11)
    axes.tick_params(colors=MUTED, labelsize=10, length=0, which="both")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _legend(axes: Axes, place: Literal["best", "upper right"]) -> None:
    axes.legend(loc=place, frameon=False, fontsize=10, labelcolor=INK, handlelength=2.6)
