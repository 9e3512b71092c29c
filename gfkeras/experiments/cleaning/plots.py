"""Plots of a cleaning: histograms of angles, operating curves, contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.data.statistics import contact_sheet
from gfkeras.evaluation.plots import style
from gfkeras.experiments.cleaning.result import DroppedImage
from gfkeras.experiments.cleaning.sub_centers import DominantCenters, OperatingPoint
from gfkeras.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BIN = 2.5
_CURVES = (("wrong", "found"), ("right", "lost"))

_ROWS, _PAGES, _LIKENESSES = 20, 10, 3


def angle_histogram(angles: np.ndarray, cut: float) -> Figure:
    """Draws a histogram of the angles (N,) to dominant centers, in degrees, and the cut."""
    figure, axes = style.figure_with_axes("Angle to the dominant center (degrees)", "Images")
    edges = np.arange(0, 180 + _BIN, _BIN)
    # Unreadable images have no angle.
    angles = angles[~np.isnan(angles)]
    for part, color, name in (
        (angles[angles < cut], style.BLUE, "kept"),
        (angles[angles >= cut], style.VERMILION, "dropped"),
    ):
        axes.hist(part, edges, color=color, label=f"{name}, {len(part):,}")
    axes.axvline(cut, color=style.INK, linewidth=1.2, linestyle="--")
    if len(angles):
        axes.set_xlim(max(0, angles.min() - 10), min(180, angles.max() + 10))
    style.legend(axes, "upper right")
    return figure


def operating_curves(
    curves: Mapping[str, Sequence[Sequence[OperatingPoint]]], cut: float, most_lost: float
) -> Figure:
    """Draws the shares of wrong and of right labels dropped over the angle, by setting.

    `curves` holds, for each setting, the curves of several seeds over the same angles. The line is
    their mean and the band their range. The plot marks the default `cut` and `most_lost`, the share
    of right labels that may be lost.
    """
    figure = style.new_figure()
    first: Axes | None = None
    for place, (name, runs) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), place, sharey=first)
        first = first or axes
        style.dress(axes, "Drop from (degrees)", "Share of labels dropped" if place == 1 else "")
        seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
        axes.set_title(f"{name}, {seeds}", color=style.MUTED, fontsize=12)
        angles = [point.angle for point in runs[0]]
        for number, (label, key) in enumerate(_CURVES):
            values = np.array([[getattr(point, key) for point in run] for run in runs])
            color, low, high = style.COLORS[number], values.min(axis=0), values.max(axis=0)
            axes.fill_between(angles, low, high, color=color, alpha=0.2, linewidth=0)
            mean = values.mean(axis=0)
            axes.plot(angles, mean, **style.line_style(number) | {"linewidth": 2})
            # Write the name next to the curve, at the height of one half.
            half = min(int((mean > 0.5).sum()), len(angles) - 1)
            axes.annotate(
                label, (angles[half], mean[half]), (8, 4), textcoords="offset points",
                color=color, fontsize=11,
            )  # fmt: skip
        axes.axvline(cut, color=style.MUTED, linewidth=1)
        axes.axhline(most_lost, color=style.MUTED, linewidth=1, linestyle=":")
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(style.percent)
    return figure


def write_sheets(
    out: Path, faces: Faces | RecordSet, dropped: Sequence[DroppedImage], centers: DominantCenters
) -> list[Path]:
    """Writes `dropped_001.jpg` …, 20 images a page and 200 in all, largest angles first.

    A row shows the dropped image, three images of its label and three images of the person that it
    looks like. These are the images nearest to their dominant centers.
    """
    # An earlier call may have written more pages than this one will.
    for old in out.glob("dropped_[0-9][0-9][0-9].jpg"):
        old.unlink()
    shown = [image for image in dropped if image.looks_like][: _ROWS * _PAGES]
    label_of = {name: label for label, name in enumerate(faces.identities)}
    labels = np.asarray(faces.labels)
    left_out = np.zeros(len(labels), bool)
    left_out[[image.row for image in dropped]] = True
    # Show typical kept images of a person: those nearest to the dominant center.
    by_angle = np.argsort(np.where(left_out, np.inf, centers.angles), kind="stable")
    by_angle = by_angle[~left_out[by_angle]]
    written = []
    for page, start in enumerate(range(0, len(shown), _ROWS), start=1):
        rows = []
        for image in shown[start : start + _ROWS]:
            tiles = _pictures(faces, np.array([image.row]))
            for name in (image.identity, image.looks_like):
                nearest = by_angle[labels[by_angle] == label_of[name]][:_LIKENESSES]
                tiles += _padded(_pictures(faces, nearest))
            name = f"{image.identity}: {image.angle:.0f}°"
            note = f"{image.looks_like}: {image.looks_like_angle:.0f}°"
            rows.append((name, note, tiles))
        title = "Dropped · three images of its label · three images of the person it looks like"
        path = out / f"dropped_{page:03d}.jpg"
        with replacing(path) as temporary:
            contact_sheet(rows, title, 1 + 2 * _LIKENESSES).save(temporary, quality=88)
        written.append(path)
    return written


def _pictures(faces: Faces | RecordSet, rows: np.ndarray) -> list[np.ndarray]:
    if isinstance(faces, Faces):
        return list(faces.images[rows])
    images, read, _ = faces.decode(rows)
    return list(images[read])


def _padded(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Fills up with white images if an identity has fewer."""
    white = np.full((1, 1, 3), 255, np.uint8)
    return pictures + [white] * (_LIKENESSES - len(pictures))
