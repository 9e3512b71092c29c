"""Angles between the embeddings of genuine and of impostor pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.errors import by_name, wrong
from gfkeras.evaluation import PairsResult
from gfkeras.evaluation.plots.scores import draw_kinds
from gfkeras.evaluation.plots.style import INK, STYLES, figure_with_axes, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGES = np.arange(0.0, 180.1, 2.0)


@dataclass(frozen=True, eq=False)
class PairAngles:
    """Angles (N,) between the embeddings of pairs, in degrees, and which pairs are genuine.

    `threshold` is the mean of the folds' thresholds. Pairs at this angle or below are accepted.
    `at_far` has the thresholds by FAR, keyed "1e-3".
    """

    angle: np.ndarray
    same: np.ndarray
    accuracy: float
    threshold: float
    at_far: dict[str, float]

    @classmethod
    def of(cls, result: PairsResult, fars: Sequence[str] = ()) -> PairAngles:
        """Returns the angles of pairs that `evaluate_pairs` scored by the cosine.

        `fars` are the thresholds to keep, such as "1e-2". Raises ValueError if the result lacks a
        FAR, if it has too few impostor pairs for it, or if the scores are not cosines.
        """
        if np.abs(result.scores).max() > 1 + 1e-4:
            received = f"scores up to {np.abs(result.scores).max():.4g} in size"
            raise wrong("result", "be measured by the cosine, from −1 to 1", received)
        at_far = {}
        for far in fars:
            threshold = by_name("FAR", far, result.threshold_at_far)
            if threshold is None:
                expected = f"be rates that {result.impostor:,} impostor pairs can measure"
                raise wrong("fars", expected, far)
            at_far[far] = float(_degrees(threshold))
        threshold = float(_degrees(result.threshold))
        return cls(_degrees(result.scores), result.same, result.accuracy, threshold, at_far)

    def to_json(self) -> dict[str, Any]:
        """Returns degrees, and counts in bins of two degrees, for `json.dump`."""
        kinds = {}
        for name, chosen in (("genuine", self.same), ("impostor", ~self.same)):
            angles = self.angle[chosen]
            kinds[name] = {
                "pairs": len(angles),
                "mean": float(angles.mean()),
                "std": float(angles.std()),
                "counts": np.histogram(angles, EDGES)[0].tolist(),
            }
        return {
            **kinds,
            "edges": EDGES.tolist(),
            "accuracy": self.accuracy,
            "threshold": self.threshold,
            "threshold_at_far": dict(self.at_far),
        }


def angle_figure(angles: PairAngles) -> Figure:
    """Draws histograms of both kinds in bins of two degrees, each as a share of its kind."""
    figure, axes = figure_with_axes(
        "Angle between the embeddings (degrees)", "Share of pairs of each kind"
    )
    shares, labels = [], []
    for kind, chosen in (("Impostor", ~angles.same), ("Genuine", angles.same)):
        found = angles.angle[chosen]
        shares.append(np.histogram(found, EDGES)[0] / len(found))
        labels.append(f"{kind}: {len(found):,} pairs, {found.mean():.1f}° ± {found.std():.1f}°")
    draw_kinds(axes, EDGES, shares[0], shares[1], *labels)
    lines = [(angles.threshold, f"accuracy {angles.accuracy:.2%}")]
    lines += [(angle, f"FAR {100 * float(far):.3g}%") for far, angle in angles.at_far.items()]
    for i, (angle, what) in enumerate(lines):
        style, label = STYLES[i % len(STYLES)], f"Threshold {angle:.1f}°: {what}"
        axes.axvline(angle, color=INK, linewidth=1.5, linestyle=style, label=label)
    # Cut off the empty ends of 0° to 180°, but keep 90°, where unrelated faces are.
    shown = EDGES[np.flatnonzero(shares[0] + shares[1])]
    low = min(30 * (shown[0] // 30), angles.threshold - 5)
    axes.set_xlim(low, max(30 * (shown[-1] // 30 + 1), 90))
    axes.set_xticks(np.arange(30 * (low // 30), axes.get_xlim()[1] + 1, 15))
    axes.set_xlim(low, max(30 * (shown[-1] // 30 + 1), 90))
    legend_below(figure, 2)
    return figure


def _degrees(cosine: Any) -> Any:
    return np.degrees(np.arccos(np.clip(np.asarray(cosine, np.float64), -1.0, 1.0)))
