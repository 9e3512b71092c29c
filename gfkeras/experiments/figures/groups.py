"""Groups in figures: the faces' distribution (figure 5), their sheet (6), the training."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import one_of, positive_int
from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.plots import style
from gfkeras.files import CONFIG_FILE, parsed_json, settings_text
from gfkeras.training.run_folder import LOG_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("random", "certain")
# Columns of a run's log.
HARD, SOFT = "effective_groups", "effective_groups_soft"
# Inches.
_TILE, _GAP = 0.62, 0.05


@dataclass(frozen=True, eq=False)
class GroupDistribution:
    """Shares of K groups over some faces.

    Attributes:
        faces: (K,) int64, how many faces have their largest probability in each group.
        probability: (K,) float64, mean probability of each group; they sum to 1.
    """

    faces: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, group_logits: npt.ArrayLike) -> GroupDistribution:
        """The distribution of logits (N, K), N at least 1."""
        logits = np.asarray(group_logits, np.float64)
        if logits.ndim != 2 or 0 in logits.shape:
            raise ValueError(
                "`group_logits` must have the shape (faces, groups), with one of each at least. "
                f"Received: a shape of {logits.shape}"
            )
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = powers / powers.sum(axis=1, keepdims=True)
        chosen = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
        return cls(chosen, probability.mean(axis=0))

    @property
    def share(self) -> np.ndarray:
        """(K,) float64, the share of faces of each group."""
        return self.faces / self.faces.sum()

    @property
    def order(self) -> np.ndarray:
        """(K,) the groups, those of most faces first, by mean probability among equals."""
        return np.lexsort((-self.probability, -self.faces))

    @property
    def effective(self) -> float:
        """The number of groups really used: exp of the entropy of `share`."""
        return effective_groups(self.faces)

    @property
    def effective_soft(self) -> float:
        """The same number for the mean probabilities."""
        return effective_groups(self.probability)

    def to_json(self) -> dict[str, Any]:
        """The groups in their own order; entropies in nats."""
        return {
            "images": int(self.faces.sum()),
            "num_groups": len(self.faces),
            "faces": self.faces.tolist(),
            "share": self.share.tolist(),
            "mean_probability": self.probability.tolist(),
            "entropy": math.log(self.effective),
            "entropy_soft": math.log(self.effective_soft),
            "effective_groups": self.effective,
            "effective_groups_soft": self.effective_soft,
            "unused_groups": int((self.faces == 0).sum()),
        }


def group_distribution_figure(distribution: GroupDistribution) -> Figure:
    """Bars of the faces' shares, largest first, and dots of the mean probabilities."""
    order = distribution.order
    count = len(order)
    places = np.arange(count)
    figure, axes = style.figure_with_axes("Group, the most used first", "Share of the faces")
    share, probability = distribution.share[order], distribution.probability[order]
    bars = axes.bar(
        places, share, width=0.72, color=style.BLUE,
        label=f"Largest probability here: {distribution.effective:.1f} effective groups "
        f"(entropy {math.log(distribution.effective):.2f} nats)",
    )  # fmt: skip
    (dots,) = axes.plot(
        places, probability, linestyle="none", marker="D", markersize=6.5, color=style.ORANGE,
        markeredgecolor=style.INK, markeredgewidth=0.8, clip_on=False, zorder=5,
        label=f"Mean probability: {distribution.effective_soft:.1f} effective groups "
        f"(entropy {math.log(distribution.effective_soft):.2f} nats)",
    )  # fmt: skip
    even = 1 / count
    each = f"{style.percent(even, 0)} each (entropy {math.log(count):.2f} nats)"
    line = axes.axhline(
        even, color=style.INK, linestyle="--", linewidth=1.3, zorder=1,
        label=f"Even use of {count} groups: {each}",
    )  # fmt: skip
    axes.set_xticks(places, [str(group) for group in order], fontsize=10 if count <= 24 else 7)
    # The dots of unused groups reach below the axis.
    axes.tick_params(axis="x", pad=9)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_ylim(0, 1.08 * max(float(share.max()), float(probability.max()), even))
    axes.yaxis.set_major_formatter(style.percent)
    axes.grid(False, axis="x")
    faces, unused = int(distribution.faces.sum()), int((distribution.faces == 0).sum())
    heading = f"{faces:,} faces in {count} groups, {unused} of them unused"
    axes.set_title(heading, loc="left", color=style.MUTED, fontsize=10.5)
    style.legend_below(figure, 1, handles=[bars, dots, line], handlelength=2.2)
    return figure


@dataclass(frozen=True)
class SheetRow:
    """A group on a contact sheet, with the positions of the faces that are shown."""

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

    A person stands once in a row as long as there are others. `group_logits` are (N, K), `labels`
    (N,) say who each face shows. The order "random" takes any `columns` faces of the group, drawn
    by `seed`, "certain" those of largest probability.
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
        seen: Counter[int] = Counter()
        turn = []
        for person in who[mine].tolist():
            turn.append(seen[person])
            seen[person] += 1
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
    """A row of faces for each group that is used, of `num_groups` in all.

    `paths` are the files that `shown` counts; `reader` turns one into a face, (H, W, 3) uint8.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one group. Received: none")
    columns = max(len(row.shown) for row in rows)
    left, top = 1.25, 0.42
    width = left + columns * (_TILE + _GAP)
    height = top + len(rows) * (_TILE + _GAP)
    figure = style.new_figure(height, width)
    # Everything stands where it is put: there are no labels to make room for.
    figure.set_layout_engine("none")
    total = sum(row.faces for row in rows)
    heading = f"{total:,} faces: {len(rows)} of {num_groups} groups are used"
    look = {"color": style.INK, "fontsize": 12, "fontweight": "bold", "va": "top"}
    figure.text(0.06 / width, 1 - 0.14 / height, heading, **look)
    for place, row in enumerate(rows):
        bottom = height - top - (place + 1) * (_TILE + _GAP) + _GAP
        middle = (bottom + _TILE / 2) / height
        texts = f"Group {row.group}", f"{row.faces:,} ({row.share:.1%})"
        figure.text(0.06 / width, middle, texts[0], color=style.INK, fontsize=11, va="bottom")
        figure.text(0.06 / width, middle, texts[1], color=style.MUTED, fontsize=9.5, va="top")
        for column, position in enumerate(row.shown):
            start = (left + column * (_TILE + _GAP)) / width
            axes = figure.add_axes((start, bottom / height, _TILE / width, _TILE / height))
            axes.imshow(reader(paths[position]), interpolation="antialiased")
            axes.set_axis_off()
    return figure


@dataclass(frozen=True, eq=False)
class GroupLog:
    """Effective groups by epoch, of the faces trained on.

    Attributes:
        epochs: (E,) int64, from 1.
        effective, effective_soft: (E,) float64, of the shares of faces and of the mean
            probabilities.
        num_groups: K, None where the run does not tell.
    """

    epochs: np.ndarray
    effective: np.ndarray
    effective_soft: np.ndarray
    num_groups: int | None

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> GroupLog:
        """The log of a folder that `gfkeras train --out` wrote, of a model with groups."""
        path = Path(run) / LOG_FILE
        if not path.is_file():
            raise ValueError(
                f"`run` must be a folder that `gfkeras train --out` wrote, with {LOG_FILE}. "
                f"Received: {os.fspath(run)!r}"
            )
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows or HARD not in rows[0]:
            raise ValueError(
                f"`run` must be the training of a model with groups, whose {LOG_FILE} has the "
                f"column {HARD}; older runs lack it. Received: {str(path)!r} with "
                f"{', '.join(rows[0]) if rows else 'no rows'}"
            )
        try:
            columns = [[float(row[name]) for row in rows] for name in ("epoch", HARD, SOFT)]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        epochs, effective, soft = (np.asarray(column) for column in columns)
        return cls(epochs.astype(np.int64), effective, soft, _num_groups(Path(run)))

    def to_json(self) -> dict[str, Any]:
        """By epoch; entropies in nats."""
        return {
            "num_groups": self.num_groups,
            "epochs": self.epochs.tolist(),
            "effective_groups": self.effective.tolist(),
            "effective_groups_soft": self.effective_soft.tolist(),
            "entropy": np.log(self.effective).tolist(),
            "entropy_soft": np.log(self.effective_soft).tolist(),
        }


def group_training_figure(runs: Mapping[str, GroupLog]) -> Figure:
    """The effective number of groups by epoch, at right its logarithm, the entropy.

    A solid line with dots is of the shares of faces, a dashed one of the mean probabilities.
    """
    if not 0 < len(runs) <= len(style.COLORS):
        raise ValueError(f"`runs` must be from 1 to {len(style.COLORS)}. Received: {len(runs)}")
    figure = style.new_figure()
    axes = figure.add_subplot()
    style.dress(axes, "Epoch", "Effective number of groups (log)")
    markers = "os^Dv<"
    for i, (name, log) in enumerate(runs.items()):
        look: dict[str, Any] = {"color": style.COLORS[i], "marker": markers[i], "linewidth": 2}
        size = 6.0 if len(log.epochs) <= 12 else 4.5 if len(log.epochs) <= 40 else 0.0
        axes.plot(
            log.epochs, log.effective, label=f"{name}  (ends at {log.effective[-1]:.1f})",
            markersize=size, **look,
        )  # fmt: skip
        axes.plot(
            log.epochs, log.effective_soft, linestyle=(0, (4, 2)), markerfacecolor="white",
            markersize=0.7 * size, **(look | {"linewidth": 1.2}),
        )  # fmt: skip
    sizes = {log.num_groups for log in runs.values()} - {None}
    highest = max(max(log.effective.max(), log.effective_soft.max()) for log in runs.values())
    for size in sorted(size for size in sizes if size is not None):
        axes.axhline(
            size, color=style.INK, linestyle=":", linewidth=1.3, label=f"Even use of {size} groups"
        )
        highest = max(highest, size)
    axes.plot([], [], color=style.MUTED, linewidth=2, marker="o", markersize=6, label="by faces")
    axes.plot(
        [], [], color=style.MUTED, linewidth=1.2, linestyle=(0, (4, 2)), marker="o", markersize=4,
        markerfacecolor="white", label="by mean probability",
    )  # fmt: skip
    axes.set_yscale("log", base=2)
    ticks = [2**power for power in range(math.ceil(math.log2(highest)) + 1)]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    low, high = 0.92, 1.15 * highest
    axes.set_ylim(low, high)
    axes.locator_params(axis="x", integer=True)
    right = axes.twinx()
    style.dress(right, "", "Entropy (nats)")
    right.grid(False)
    right.set_ylim(math.log(low), math.log(high))
    style.legend_below(figure, 2)
    return figure


def _num_groups(run: Path) -> int | None:
    """K of the model that the run kept."""
    try:
        described = parsed_json(settings_text(run / "last" / CONFIG_FILE))
        return int(described["model"]["config"]["num_groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
