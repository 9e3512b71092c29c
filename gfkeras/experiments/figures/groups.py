"""Plots of groups: distribution of faces (Figure 5), contact sheet (Figure 6), training."""

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

from gfkeras.errors import one_of, positive_int, wrong
from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.plots import style
from gfkeras.files import CONFIG_FILE, parsed_json, settings_text
from gfkeras.training.run_folder import LOG_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("random", "certain")
# Columns of a run's log.
HARD, SOFT = "effective_groups", "effective_groups_soft"
# Sizes in inches.
_TILE, _GAP = 0.62, 0.05


@dataclass(frozen=True, eq=False)
class GroupDistribution:
    """Shares of K groups over some faces.

    `faces` (K,) int64 counts the faces whose largest probability is in each group, and
    `probability` (K,) float64 is the mean probability of each.
    """

    faces: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, group_logits: npt.ArrayLike) -> GroupDistribution:
        """Returns the distribution of logits (N, K), N at least 1."""
        logits = np.asarray(group_logits, np.float64)
        if logits.ndim != 2 or 0 in logits.shape:
            expected = "have the shape (faces, groups), with at least one of each"
            raise wrong("group_logits", expected, f"a shape of {logits.shape}")
        # Subtracting the maximum keeps exp from overflowing and does not change the softmax.
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = powers / powers.sum(axis=1, keepdims=True)
        chosen = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
        return cls(chosen, probability.mean(axis=0))

    @property
    def share(self) -> np.ndarray:
        """(K,) float64, the share of faces in each group."""
        return self.faces / self.faces.sum()

    @property
    def order(self) -> np.ndarray:
        """(K,) the groups by number of faces, largest first, then by mean probability."""
        return np.lexsort((-self.probability, -self.faces))

    @property
    def effective(self) -> float:
        """The number of groups in real use: exp of the entropy of `share`."""
        return effective_groups(self.faces)

    @property
    def effective_soft(self) -> float:
        """The same number, computed from the mean probabilities."""
        return effective_groups(self.probability)

    def to_json(self) -> dict[str, Any]:
        """Returns the results, ordered by group number, with entropies in nats."""
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
    """Draws the shares of faces as bars, largest first, and the mean probabilities as dots."""
    order = distribution.order
    count = len(order)
    places = np.arange(count)
    figure, axes = style.figure_with_axes("Group, most used first", "Share of faces")
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
    axes.set_xticks(places, [str(group) for group in order], fontsize=11 if count <= 24 else 8)
    # Move the labels down, because the dots of unused groups overlap the axis.
    axes.tick_params(axis="x", pad=9)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_ylim(0, 1.08 * max(float(share.max()), float(probability.max()), even))
    axes.yaxis.set_major_formatter(style.percent)
    axes.grid(False, axis="x")
    faces, unused = int(distribution.faces.sum()), int((distribution.faces == 0).sum())
    heading = f"{faces:,} faces in {count} groups, {unused} of them unused"
    style.set_title(axes, heading)
    style.legend_below(figure, 1, handles=[bars, dots, line], handlelength=2.2)
    return figure


@dataclass(frozen=True)
class SheetRow:
    """A group on a contact sheet, with the positions of its shown faces."""

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
    """Returns the faces to show for each used group, largest groups first.

    `group_logits` are (N, K). `labels` (N,) name the person on each face. A person is shown again
    in a row only if there are no other people. The order "random" takes `columns` faces of the
    group, drawn by `seed`. The order "certain" takes the faces with the largest probability.
    """
    one_of("order", order, ORDERS)
    positive_int("columns", columns)
    logits = np.asarray(group_logits, np.float64)
    distribution = GroupDistribution.of(logits)
    who = np.asarray(labels)
    if who.shape != (len(logits),):
        received = f"shape {who.shape}"
        raise wrong("labels", f"have one entry for each of the {len(logits)} faces", received)
    group = logits.argmax(axis=1)
    # Compare log odds: the probabilities themselves soon round to 1.
    others = np.where(np.arange(logits.shape[1]) == group[:, None], -np.inf, logits)
    # With a single group there are no other logits, and their log-sum is −inf.
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
        # Sort by how often the person was seen before: first images of all people come first.
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
    """Draws a row of faces for each used group, out of `num_groups` groups.

    `paths` are the files that the positions in `shown` refer to. `reader` turns a file into a face
    (H, W, 3) uint8.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one group. Received: no groups")
    columns = max(len(row.shown) for row in rows)
    left, top = 1.25, 0.42
    width = left + columns * (_TILE + _GAP)
    height = top + len(rows) * (_TILE + _GAP)
    figure = style.new_figure(height, width)
    # All positions are computed below, so the automatic layout would only get in the way.
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
    """Effective groups by epoch, from 1, over the training faces: (E,) arrays.

    `effective` is computed from the shares of faces, `effective_soft` from the mean probabilities.
    `num_groups` is None if the run does not record it.
    """

    epochs: np.ndarray
    effective: np.ndarray
    effective_soft: np.ndarray
    num_groups: int | None

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> GroupLog:
        """Reads the log of a folder that `gfkeras train --out` wrote for a model with groups."""
        path = Path(run) / LOG_FILE
        if not path.is_file():
            expected = f"be a folder that `gfkeras train --out` wrote, with {LOG_FILE}"
            raise wrong("run", expected, repr(os.fspath(run)))
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows or HARD not in rows[0]:
            raise ValueError(
                f"`run` must be the training of a model with groups, whose {LOG_FILE} has the "
                f"column {HARD}. Older runs lack it. Received: {str(path)!r} with "
                f"{', '.join(rows[0]) if rows else 'no rows'}"
            )
        try:
            columns = [[float(row[name]) for row in rows] for name in ("epoch", HARD, SOFT)]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        epochs, effective, soft = (np.asarray(column) for column in columns)
        return cls(epochs.astype(np.int64), effective, soft, _num_groups(Path(run)))

    def to_json(self) -> dict[str, Any]:
        """Returns the values by epoch, with entropies in nats, for `json.dump`."""
        return {
            "num_groups": self.num_groups,
            "epochs": self.epochs.tolist(),
            "effective_groups": self.effective.tolist(),
            "effective_groups_soft": self.effective_soft.tolist(),
            "entropy": np.log(self.effective).tolist(),
            "entropy_soft": np.log(self.effective_soft).tolist(),
        }


def group_training_figure(runs: Mapping[str, GroupLog]) -> Figure:
    """Draws the effective number of groups by epoch. The right axis is its logarithm, the entropy.

    Solid lines with dots are from the shares of faces, dashed lines from the mean probabilities.
    """
    # Each run needs its own colour.
    if not 0 < len(runs) <= len(style.COLORS):
        raise ValueError(f"`runs` must be from 1 to {len(style.COLORS)}. Received: {len(runs)}")
    figure = style.new_figure()
    axes = figure.add_subplot()
    style.dress(axes, "Epoch", "Effective number of groups (log)")
    markers = "os^Dv<"
    for i, (name, log) in enumerate(runs.items()):
        look: dict[str, Any] = {"color": style.COLORS[i], "marker": markers[i], "linewidth": 2}
        # Markers of many epochs would hide the line.
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
    # Empty lines put both line styles into the legend, independent of the colours of the runs.
    axes.plot([], [], color=style.MUTED, linewidth=2, marker="o", markersize=6, label="by faces")
    axes.plot(
        [], [], color=style.MUTED, linewidth=1.2, linestyle=(0, (4, 2)), marker="o", markersize=4,
        markerfacecolor="white", label="by mean probability",
    )  # fmt: skip
    # On a logarithmic axis, equal distances are equal differences of entropy.
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
    """Returns K of the run's model, or None if the run has no readable model."""
    try:
        described = parsed_json(settings_text(run / "last" / CONFIG_FILE))
        return int(described["model"]["config"]["num_groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
