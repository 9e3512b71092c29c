"""Faces of each group: figure 6 of the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.errors import one_of, positive_int
from gfkeras.evaluation.plots.style import INK, MUTED, new_figure
from gfkeras.experiments.figures.group_distribution import GroupDistribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("random", "certain")
_TILE, _GAP = 0.62, 0.05


@dataclass(frozen=True)
class SheetRow:
    """A group on a contact sheet.

    Attributes:
        group: its number.
        share: of all faces.
        faces: how many faces it has.
        shown: positions of those that are shown.
    """

    group: int
    share: float
    faces: int
    shown: list[int]


def sheet_rows(
    group_logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    columns: int = 10,
    order: str = "random",
    seed: int = 0,
) -> list[SheetRow]:
    """The faces to show of each group; largest groups first, unused ones left out.

    A person stands once in a row as long as there are others.

    Args:
        group_logits: (N, K) float.
        labels: (N,) who each face shows.
        columns: faces of a group at most.
        order: "random" for any faces of the group, "certain" for those of largest probability.
        seed: of the draw.

    Raises:
        ValueError: for other shapes or another order.
    """
    one_of("order", order, ORDERS)
    positive_int("columns", columns)
    logits = np.asarray(group_logits, np.float64)
    distribution = GroupDistribution.of(logits)
    who = np.asarray(labels)
    if who.shape != (len(logits),):
        raise ValueError(
            f"`labels` must be one for each of {len(logits)} faces. Received: shape {who.shape}"
        )
    group = logits.argmax(axis=1)
    # How far the largest logit lies above the others: the probability itself soon rounds to 1.
    others = np.where(np.arange(logits.shape[1]) == group[:, None], -np.inf, logits)
    with np.errstate(divide="ignore"):
        certainty = logits.max(axis=1) - np.logaddexp.reduce(others, axis=1)
    rng = np.random.default_rng(seed)
    rows = []
    for number in distribution.order:
        mine = np.flatnonzero(group == number)
        if not len(mine):
            continue
        if order == "random":
            mine = rng.permutation(mine)
        else:
            mine = mine[np.argsort(-certainty[mine], kind="stable")]
        seen: dict[int, int] = {}
        turn = []
        for position in mine:
            person = int(who[position])
            turn.append(seen.get(person, 0))
            seen[person] = seen.get(person, 0) + 1
        shown = mine[np.argsort(turn, kind="stable")][:columns]
        share = float(distribution.share[number])
        rows.append(SheetRow(int(number), share, len(mine), shown.tolist()))
    return rows


def group_sheet_figure(
    rows: Sequence[SheetRow],
    paths: Sequence[Path],
    reader: Callable[[Path], np.ndarray],
    num_groups: int,
) -> Figure:
    """A row of faces for each group.

    Args:
        rows: of `sheet_rows`.
        paths: the files that `shown` counts.
        reader: from a file to a face, (H, W, 3) uint8.
        num_groups: K, used or not.

    Raises:
        ValueError: where `rows` is empty.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one group. Received: none")
    columns = max(len(row.shown) for row in rows)
    left, top = 1.25, 0.42
    width = left + columns * (_TILE + _GAP)
    height = top + len(rows) * (_TILE + _GAP)
    figure = new_figure(height, width)
    # Everything stands where it is put: there are no labels to make room for.
    figure.set_layout_engine("none")
    total = sum(row.faces for row in rows)
    figure.text(
        0.06 / width, 1 - 0.14 / height,
        f"{total:,} faces: {len(rows)} of {num_groups} groups are used",
        color=INK, fontsize=12, fontweight="bold", va="top",
    )  # fmt: skip
    for place, row in enumerate(rows):
        bottom = height - top - (place + 1) * (_TILE + _GAP) + _GAP
        middle = (bottom + _TILE / 2) / height
        figure.text(0.06 / width, middle, f"Group {row.group}", color=INK, fontsize=11, va="bottom")
        figure.text(
            0.06 / width, middle, f"{row.faces:,} ({row.share:.1%})", color=MUTED, fontsize=9.5,
            va="top",
        )  # fmt: skip
        for column, position in enumerate(row.shown):
            axes = figure.add_axes(
                (
                    (left + column * (_TILE + _GAP)) / width, bottom / height,
                    _TILE / width, _TILE / height,
                )
            )  # fmt: skip
            axes.imshow(reader(paths[position]), interpolation="antialiased")
            axes.set_axis_off()
    return figure
