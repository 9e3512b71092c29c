"""Use of the groups in the course of training."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.evaluation.plots.style import COLORS, INK, MUTED, dress, legend_below, new_figure
from gfkeras.files import CONFIG_FILE
from gfkeras.training.run_folder import LOG_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARD, SOFT = "effective_groups", "effective_groups_soft"


@dataclass(frozen=True, eq=False)
class GroupLog:
    """Effective groups by epoch, of the faces trained on.

    Attributes:
        epochs: (E,) int64, from 1.
        effective: (E,) float64, of the shares of faces.
        effective_soft: (E,) float64, of the mean probabilities.
        num_groups: K, None where the run does not tell.
    """

    epochs: np.ndarray
    effective: np.ndarray
    effective_soft: np.ndarray
    num_groups: int | None

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> GroupLog:
        """The log of a folder that `gfkeras train --out` wrote.

        Raises:
            ValueError: for a folder without a log, or a log without groups.
        """
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

    Args:
        runs: by name, six at most.

    Raises:
        ValueError: for none, or more than can be told apart.
    """
    if not 0 < len(runs) <= len(COLORS):
        raise ValueError(f"`runs` must be from 1 to {len(COLORS)}. Received: {len(runs)}")
    figure = new_figure()
    axes = figure.add_subplot()
    dress(axes, "Epoch", "Effective number of groups (log)")
    markers = "os^Dv<"
    for i, (name, log) in enumerate(runs.items()):
        style: dict[str, Any] = {"color": COLORS[i], "marker": markers[i], "linewidth": 2}
        size = 6.0 if len(log.epochs) <= 12 else 4.5 if len(log.epochs) <= 40 else 0.0
        axes.plot(
            log.epochs, log.effective, label=f"{name}  (ends at {log.effective[-1]:.1f})",
            markersize=size, **style,
        )  # fmt: skip
        axes.plot(
            log.epochs, log.effective_soft, linestyle=(0, (4, 2)), markerfacecolor="white",
            markersize=0.7 * size, **(style | {"linewidth": 1.2}),
        )  # fmt: skip
    sizes = {log.num_groups for log in runs.values()} - {None}
    highest = max(max(log.effective.max(), log.effective_soft.max()) for log in runs.values())
    for size in sorted(size for size in sizes if size is not None):
        axes.axhline(
            size, color=INK, linestyle=":", linewidth=1.3, label=f"Even use of {size} groups"
        )
        highest = max(highest, size)
    axes.plot([], [], color=MUTED, linewidth=2, marker="o", markersize=6, label="by faces")
    axes.plot(
        [], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), marker="o", markersize=4,
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
    dress(right, "", "Entropy (nats)")
    right.grid(False)
    right.set_ylim(math.log(low), math.log(high))
    legend_below(figure, 2)
    return figure


def _num_groups(run: Path) -> int | None:
    """K of the model that the run kept."""
    try:
        described = json.loads((run / "last" / CONFIG_FILE).read_text(encoding="utf-8"))
        return int(described["model"]["config"]["num_groups"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
