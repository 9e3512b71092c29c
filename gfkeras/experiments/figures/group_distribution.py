"""Distribution of faces over the groups: figure 5 of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.plots.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    figure_with_axes,
    legend_below,
    percent,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        """The distribution of logits (N, K), N at least 1.

        Raises:
            ValueError: for another shape.
        """
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
    figure, axes = figure_with_axes("Group, the most used first", "Share of the faces")
    share, probability = distribution.share[order], distribution.probability[order]
    bars = axes.bar(
        places, share, width=0.72, color=BLUE,
        label=f"Largest probability here: {distribution.effective:.1f} effective groups "
        f"(entropy {math.log(distribution.effective):.2f} nats)",
    )  # fmt: skip
    (dots,) = axes.plot(
        places, probability, linestyle="none", marker="D", markersize=6.5, color=ORANGE,
        markeredgecolor=INK, markeredgewidth=0.8, clip_on=False, zorder=5,
        label=f"Mean probability: {distribution.effective_soft:.1f} effective groups "
        f"(entropy {math.log(distribution.effective_soft):.2f} nats)",
    )  # fmt: skip
    even = 1 / count
    line = axes.axhline(
        even, color=INK, linestyle="--", linewidth=1.3, zorder=1,
        label=f"Even use of {count} groups: {percent(even, 0)} each (entropy "
        f"{math.log(count):.2f} nats)",
    )  # fmt: skip
    axes.set_xticks(places, [str(group) for group in order], fontsize=10 if count <= 24 else 7)
    # The dots of unused groups reach below the axis.
    axes.tick_params(axis="x", pad=9)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_ylim(0, 1.08 * max(float(share.max()), float(probability.max()), even))
    axes.yaxis.set_major_formatter(percent)
    axes.grid(False, axis="x")
    unused = int((distribution.faces == 0).sum())
    axes.set_title(
        f"{int(distribution.faces.sum()):,} faces in {count} groups, {unused} of them unused",
        loc="left", color=MUTED, fontsize=10.5,
    )  # fmt: skip
    legend_below(figure, 1, handles=[bars, dots, line], handlelength=2.2)
    return figure
