"""How far an artefact of each precision may be from its model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Acceptance of one precision.

    Attributes:
        figure: attribute of `ParityResult` that is limited.
        limit: at most for errors, at least for cosines.
        near_tie: two group logits closer than this fraction of an image's range of logits are
            equally likely; 0 where a group chosen otherwise counts in full.
        group_agreement: share of the images that must choose the model's group.
    """

    figure: str
    limit: float
    near_tie: float = 0.0
    group_agreement: float = 0.0

    def kept(self, value: float) -> bool:
        """Whether a figure is within the limit; NaN is not."""
        return value <= self.limit if self.figure == "max_abs_error" else value >= self.limit

    def __str__(self) -> str:
        bound = "at most" if self.figure == "max_abs_error" else "at least"
        return f"{self.figure} {bound} {self.limit:g}"


# The near tie of fp32 is a hundred times float32's own rounding, that of fp16 what weights of
# 11 bits do to a sum of products. The means leave room under those of MobileFaceNets
# (docs/export.md: 0.997 in int8, 0.999 in int8-dynamic and int8-weights, 0.958 and 0.940 in int4).
TOLERANCES = {
    "fp32": Tolerance("max_abs_error", 1e-4, near_tie=1e-5),
    "fp16": Tolerance("min_cosine", 0.9995, near_tie=2e-3),
    "int8": Tolerance("mean_cosine", 0.985, group_agreement=0.98),
    "int8-dynamic": Tolerance("mean_cosine", 0.99, group_agreement=0.97),
    "int8-weights": Tolerance("mean_cosine", 0.995, group_agreement=0.98),
    "int4-dynamic": Tolerance("mean_cosine", 0.94, group_agreement=0.90),
    "int4-weights": Tolerance("mean_cosine", 0.92, group_agreement=0.90),
}
