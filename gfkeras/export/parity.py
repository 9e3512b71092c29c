"""Parity of an artefact with its model, image by image."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gfkeras.errors import one_of, positive_int

# Of hard ensembles no more than this share may sit on a tie.
MAX_NEAR_TIES = 0.01


@dataclass(frozen=True, slots=True)
class GroupFlip:
    """One image whose chosen group differs between reference and candidate.

    Attributes:
        gap: the reference's logit of its own choice less that of the candidate's, as a fraction of
            the image's range of logits.
        near_tie: whether the gap is within numerical noise.
    """

    image: int
    reference: int
    candidate: int
    gap: float
    near_tie: bool


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Acceptance of one precision.

    Attributes:
        figure: attribute of `ParityResult` that is limited.
        limit: at most for errors, at least for cosines.
        near_tie: two group logits closer than this fraction of an image's range are equally likely;
            0 counts every other choice in full.
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


@dataclass(frozen=True)
class ParityResult:
    """Embeddings of two runtimes compared image by image.

    Attributes:
        precision: key of `TOLERANCES`.
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
        """The number of images compared."""
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

        At most 1 % of the images, but one in any case, may be near ties.
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
        worst = int(np.argmin(self.cosine))
        flips = (
            f"; another group chosen for {len(self.group_disagreements)}, "
            f"{self.near_ties} of them near ties"
            if self.group_disagreements
            else ""
        )
        raise ValueError(
            f"The artefact does not keep the tolerance of {precision} ({TOLERANCES[precision]}): "
            f"over {self.images} images max_abs_error {self.max_abs_error:.3g}, mean_cosine "
            f"{self.mean_cosine:.6f}, min_cosine {self.min_cosine:.6f}; worst image {worst} with "
            f"cosine {self.cosine[worst]:.6f}{flips}"
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


def verify(
    reference: Callable[[Any], Any],
    candidate: Callable[[Any], Any],
    images: np.ndarray,
    precision: str | None = None,
    batch_size: int = 64,
) -> ParityResult:
    """Embeds the same images with both and compares them one by one.

    A hard ensemble jumps where two groups are equally likely: there the order of additions in a
    runtime decides. Such an image is no error of the artefact, but it cannot be compared. It is
    left out of the numbers if (and only if) the candidate is hard, the groups differ, and the
    reference's own logits of the two groups are within numerical noise. It stands in
    `group_disagreements`, is counted in `near_ties`, and over 1 % of such images fail. Any other
    disagreement counts in full, which fails.

    Args:
        reference: an `Embedder` of the Keras model, or any callable from images to an object with
            `embedding`, and `group_logits` if there are groups. If it has another `mode`, it runs
            in the candidate's, and is then set back.
        candidate: an `Embedder` of the artefact.
        images: (N, 112, 112, 3) uint8 or float32, N ≥ 1.
        precision: a key of `TOLERANCES`; the candidate's `precision` by default, else fp32.
        batch_size: images given to both at once.

    Returns:
        The comparison; `passed()` applies the tolerance, `require()` raises.

    Raises:
        ValueError: without images, or if the two do not embed into the same width.
    """
    precision = precision or getattr(candidate, "precision", None) or "fp32"
    one_of("precision", precision, tuple(TOLERANCES))
    positive_int("batch_size", batch_size)
    if not len(images):
        raise ValueError("`images` must hold at least one image. Received: none")
    hard = getattr(candidate, "mode", None) == "hard"
    cosine, max_abs, counted = [], [], []
    flips: list[GroupFlip] = []
    with _in_mode(reference, getattr(candidate, "mode", None)):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            expected, found = reference(batch), candidate(batch)
            a, b = _unit(expected.embedding), _unit(found.embedding)
            if a.shape != b.shape:
                raise ValueError(
                    "`candidate` must embed as `reference` does. "
                    f"Received: embeddings of shapes {b.shape} and {a.shape}"
                )
            cosine.append((a * b).sum(axis=-1))
            max_abs.append(np.abs(a - b).max(axis=-1))
            new = _flips(expected, found, start, TOLERANCES[precision].near_tie)
            ties = {flip.image for flip in new if hard and flip.near_tie}
            counted.append(np.array([start + i not in ties for i in range(len(a))]))
            flips += new
    joined = [np.concatenate(rows) for rows in (cosine, max_abs, counted)]
    return ParityResult(precision, joined[0], joined[1], joined[2], flips)


def _unit(embedding: Any) -> np.ndarray:
    rows = np.asarray(embedding, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _flips(expected: Any, found: Any, start: int, noise: float) -> list[GroupFlip]:
    a, b = getattr(expected, "group_logits", None), getattr(found, "group_logits", None)
    if a is None or b is None:
        return []
    a = np.asarray(a, np.float64)
    chosen_a, chosen_b = a.argmax(axis=-1), np.asarray(b).argmax(axis=-1)
    flips = []
    for i in np.flatnonzero(chosen_a != chosen_b):
        gap = float(a[i, chosen_a[i]] - a[i, chosen_b[i]]) / max(float(np.ptp(a[i])), 1e-12)
        flips.append(
            GroupFlip(start + int(i), int(chosen_a[i]), int(chosen_b[i]), gap, gap <= noise)
        )
    return flips


@contextlib.contextmanager
def _in_mode(reference: Any, mode: str | None) -> Iterator[None]:
    """The reference in the candidate's mode during the comparison."""
    before = getattr(reference, "mode", None)
    if mode is None or before is None or mode == before:
        yield
        return
    reference.mode = mode
    try:
        yield
    finally:
        reference.mode = before
