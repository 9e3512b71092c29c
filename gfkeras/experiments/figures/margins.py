"""Margin curves: the target logit of each head over the angle to the class center."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from gfkeras import heads
from gfkeras.errors import by_name
from gfkeras.evaluation.plots.style import COLORS, INK, STYLES, dress, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

ANGLES = np.linspace(0.0, 180.0, 361)
_NORM_BY_QUALITY = ("AdaFace", "MagFace")

# Seven of each. In grey, only the dashes differ.
_COLORS = (*COLORS, INK)
_STYLES = (*STYLES, (0, (3, 1.2)))
_WRAPPED = 38

# Head, its setting in the legend, its arguments, and the norm of the embeddings.
HEADS: tuple[tuple[str, str, dict[str, Any], float], ...] = (
    ("NormSoftmax", "cos θ", {}, 1),
    ("Softmax", "cos θ", {"use_bias": False}, 1),
    ("CosFace", "m = 0.35", {}, 1),
    ("ArcFace", "m = 0.5", {}, 1),
    ("SubCenterArcFace", "m = 0.5", {}, 1),
    ("CurricularFace", "m = 0.5", {}, 1),
    ("PartialFC", "m = 0.5", {"sample_rate": 1.0}, 1),
    ("ArcFace", "easy margin", {"easy_margin": True}, 1),
    ("CombinedMargin", "(1, 0.3, 0.2)", {}, 1),
    ("CombinedMargin", "(0.9, 0.4, 0.15)", {"m1": 0.9, "m2": 0.4, "m3": 0.15}, 1),
    ("SphereFaceR", "m = 1.5", {}, 1),
    ("SphereFace", "m = 4, λ = 5", {"lambda_start": 0}, 1),
    ("AdaFace", "low norm", {}, 1),
    ("AdaFace", "mean norm", {}, 20),
    ("AdaFace", "high norm", {}, 39),
    ("MagFace", "‖x‖ = 10", {}, 10),
    ("MagFace", "‖x‖ = 110", {}, 110),
)


@dataclass(frozen=True, eq=False)
class MarginCurve:
    """The target logit of a head. `setting` describes its margin, and `norm` is ‖x‖.

    `logit` holds one value for each angle, divided by s. SphereFace has no s, so its logits are
    divided by ‖x‖.
    """

    head: str
    setting: str
    norm: float
    logit: np.ndarray


def margin_curves(
    names: Sequence[str] | None = None, angles: npt.ArrayLike = ANGLES
) -> list[MarginCurve]:
    """Returns the curves of the named heads with their default margins. All heads by default.

    The values come from the heads themselves. They get embeddings at each of the `angles` (degrees,
    0 to 180) from their own class center, and at right angles to the other center.
    """
    radians = np.radians(np.asarray(angles, np.float64))
    return [
        MarginCurve(name, setting, norm, _logit(name, arguments, norm, radians))
        for name, setting, arguments, norm in chosen_heads(names)
    ]


def chosen_heads(names: Sequence[str] | None) -> list[tuple[str, str, dict[str, Any], float]]:
    """Returns the entries of `HEADS` for the named heads, by default all.

    Raises ValueError for an unknown name.
    """
    for name in names or ():
        by_name("head", name, heads.HEADS)
    return [entry for entry in HEADS if names is None or entry[0] in names]


def margin_figure(curves: Sequence[MarginCurve], angles: npt.ArrayLike = ANGLES) -> Figure:
    """Draws two panels: margins that do not depend on the embedding's norm, and those that do.

    Equal curves are drawn once, with all their names.
    """
    if not curves:
        raise ValueError("`curves` must hold at least one curve. Received: no curves")
    panels = [
        (title, chosen)
        for title, quality in (
            ("The same margin for every face", False),
            ("A margin that depends on the embedding's norm", True),
        )
        if (chosen := [c for c in curves if (c.head in _NORM_BY_QUALITY) == quality])
    ]
    # Two panels need more width, and the legend needs a row for each curve.
    width = 10.8 if len(panels) == 2 else 7.2
    figure = new_figure(5.9, width)
    lowest = min(float(curve.logit.min()) for curve in curves)
    for place, (title, chosen) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        dress(axes, "θ, angle to the class center (degrees)", "")
        if place == 1:
            axes.set_ylabel("Target logit / s", color=axes.xaxis.label.get_color(), fontsize=12)
        axes.plot(angles, np.cos(np.radians(angles)), color="0.8", linewidth=4, label="cos θ")
        i = 0
        # NormSoftmax is cos θ itself, which the grey line already shows.
        for name, curve in _merged(chosen):
            if curve.head == "NormSoftmax":
                axes.lines[0].set_label(name)
                continue
            color, style = _look(i)
            axes.plot(
                angles, curve.logit, color=color, linewidth=1.9, linestyle=style, label=name,
            )  # fmt: skip
            i += 1
        set_title(axes, title)
        axes.set_xlim(0, 180)
        axes.set_xticks(range(0, 181, 30))
        axes.set_ylim(lowest - 0.35, 1.08)
        axes.legend(
            loc="lower left", frameon=False, fontsize=10, labelcolor=INK, handlelength=3,
        )  # fmt: skip
    return figure


def grouped(items: Sequence[T], same: Callable[[T, T], bool]) -> list[list[T]]:
    """Returns groups of items that are the same as the first of their group."""
    groups: list[list[T]] = []
    for item in items:
        group = next((each for each in groups if same(each[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def _merged(curves: Sequence[MarginCurve]) -> list[tuple[str, MarginCurve]]:
    """Returns each distinct curve once, with the names of all equal curves."""
    # Curves that differ less than this cannot be distinguished in the plot.
    merged = grouped(curves, lambda a, b: np.allclose(a.logit, b.logit, atol=1e-4))
    return [(_label(alike), alike[0]) for alike in merged]


def _look(i: int) -> tuple[str, Any]:
    """Returns the color and the dashes of the i-th curve: after seven, new pairs of the same."""
    n = len(_COLORS)
    return _COLORS[i % n], _STYLES[(i + i // n) % n]


def _label(alike: Sequence[MarginCurve]) -> str:
    settings = dict.fromkeys(curve.setting for curve in alike)
    heads_ = dict.fromkeys(curve.head for curve in alike)
    return textwrap.fill(f"{', '.join(heads_)}: {', '.join(settings)}", _WRAPPED)


def _logit(name: str, arguments: dict[str, Any], norm: float, radians: np.ndarray) -> np.ndarray:
    from keras import ops

    head = head_at(name, arguments, np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    embedding = norm * np.stack([np.cos(radians), np.sin(radians), 0 * radians], axis=1)
    logits = head(embedding.astype(np.float32), np.zeros(len(radians), np.int32))
    scale = norm if name == "SphereFace" else getattr(head, "scale", 64.0)
    return ops.convert_to_numpy(logits)[:, 0].astype(np.float64) / scale


def head_at(name: str, arguments: dict[str, Any], centers: np.ndarray) -> Any:
    """Returns a head of `HEADS` with the given class centers (N, D) float32."""
    head: Any = heads.get(name, num_classes=len(centers), **arguments)
    head.build((None, centers.shape[1]))
    shape = tuple(head.centers.shape)
    # Put all sub-centers of a class in the same place.
    head.centers.assign(centers if len(shape) == 2 else np.repeat(centers[:, None], shape[1], 1))
    if name == "AdaFace":
        # This value makes the norms of the three curves span the range of its margins.
        head.norm_std.assign(19 * 0.333)
    return head
