"""The outcome of comparing an artefact with its model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gfkeras.export.group_flip import GroupFlip
from gfkeras.export.tolerance import TOLERANCES

# Of hard ensembles no more than this share may sit on a tie.
MAX_NEAR_TIES = 0.01


@dataclass(frozen=True)
class ParityResult:
    """Embeddings of two runtimes compared image by image.

    Attributes:
        precision: which of `TOLERANCES` holds.
        cosine: (N,) cosine of each image's two embeddings.
        max_abs: (N,) largest difference of an element of the normalised embeddings.
        counted: (N,) bool; all but the near ties of a hard ensemble.
        group_disagreements: images for which the chosen groups differ.
    """

    precision: str
    cosine: np.ndarray
    max_abs: np.ndarray
    counted: np.ndarray
    group_disagreements: list[GroupFlip] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many images were compared."""
        return len(self.cosine)

    @property
    def near_ties(self) -> int:
        """Images left out of the figures below, for a tie between two groups."""
        return int((~self.counted).sum())

    @property
    def mean_cosine(self) -> float:
        """Mean over the images counted; NaN where there are none."""
        return float(self.cosine[self.counted].mean()) if self.counted.any() else float("nan")

    @property
    def min_cosine(self) -> float:
        """Smallest over the images counted."""
        return float(self.cosine[self.counted].min()) if self.counted.any() else float("nan")

    @property
    def max_abs_error(self) -> float:
        """Largest over the images counted."""
        return float(self.max_abs[self.counted].max()) if self.counted.any() else float("nan")

    @property
    def group_agreement(self) -> float:
        """Share of the images for which both chose the same group."""
        return 1 - len(self.group_disagreements) / max(self.images, 1)

    def passed(self, precision: str | None = None) -> bool:
        """Whether the tolerance is kept; `precision` overrides the result's own.

        fp32: max_abs_error ≤ 1e-4. fp16: min_cosine ≥ 0.9995. In both at most 1 % of
        the images (but one in any case) may be near ties. int8: mean_cosine ≥ 0.985, and
        98 % of the images choose the model's group; int8-dynamic: 0.99 and 97 %;
        int8-weights: 0.995 and 98 %; int4-dynamic: 0.94 and 90 %; int4-weights: 0.92 and 90 %.
        """
        tolerance = TOLERANCES[precision or self.precision]
        return (
            tolerance.kept(getattr(self, tolerance.figure))
            and self.near_ties <= max(1, MAX_NEAR_TIES * self.images)
            and self.group_agreement >= tolerance.group_agreement
        )

    def require(self, precision: str | None = None) -> None:
        """Raises ValueError with the figures where `passed` is false."""
        if self.passed(precision):
            return
        precision = precision or self.precision
        limit = str(TOLERANCES[precision])
        worst = int(np.argmin(self.cosine))
        flips = (
            f"; another group chosen for {len(self.group_disagreements)}, "
            f"{self.near_ties} of them near ties"
            if self.group_disagreements
            else ""
        )
        raise ValueError(
            f"The artefact does not keep the tolerance of {precision} ({limit}): over "
            f"{self.images} images max_abs_error {self.max_abs_error:.3g}, mean_cosine "
            f"{self.mean_cosine:.6f}, min_cosine {self.min_cosine:.6f}; worst image {worst} with "
            f"cosine {self.cosine[worst]:.6f}"
            f"{flips}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, the contract's keys among them."""
        return {
            "mean_cosine": self.mean_cosine,
            "min_cosine": self.min_cosine,
            "max_abs_error": self.max_abs_error,
            "images": self.images,
            "precision": self.precision,
            "passed": self.passed(),
            "group_disagreements": len(self.group_disagreements),
            "group_agreement": self.group_agreement,
            "near_ties": self.near_ties,
        }
