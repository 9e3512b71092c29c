"""Comparison of an artefact with its model, image by image."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gfkeras.errors import one_of, positive_int

# Largest share of images with a near tie between two groups. With more, ties would hide errors.
MAX_NEAR_TIES = 0.01


@dataclass(frozen=True, slots=True)
class GroupFlip:
    """One image whose chosen group differs between reference and candidate.

    `gap` is the difference of the reference's logits for the two groups, as a fraction of the range
    of the image's logits. A `near_tie` is a gap within numerical noise.
    """

    image: int
    reference: int
    candidate: int
    gap: float
    near_tie: bool


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Tolerance of one precision: the attribute of `ParityResult`, and its largest or least value.

    If two group logits differ by at most `near_tie`, a fraction of the image's range, the groups
    count as equally likely. With 0, every different choice counts in full. `group_agreement` is the
    share of the images that must choose the model's group.
    """

    figure: str
    limit: float
    near_tie: float = 0.0
    group_agreement: float = 0.0

    def kept(self, value: float) -> bool:
        """Returns whether a value is within the limit. NaN is not."""
        return value <= self.limit if self.figure == "max_abs_error" else value >= self.limit

    def __str__(self) -> str:
        bound = "at most" if self.figure == "max_abs_error" else "at least"
        return f"{self.figure} {bound} {self.limit:g}"


# The near tie of fp32 is a hundred times the rounding of float32. The near tie of fp16 is the
# error of a sum of products with weights of 11 bits. The limits of the mean cosine are a little
# below the values measured for MobileFaceNets (docs/export.md: 0.997 in int8, 0.999 in int8-dynamic
# and int8-weights, 0.958 in int4-dynamic, 0.940 in int4-weights).
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
    """Comparison of the embeddings of two runtimes, image by image.

    Attributes:
        precision: key of `TOLERANCES`.
        cosine: (N,) cosine between the two embeddings of each image.
        max_abs: (N,) largest absolute difference between elements of the normalised embeddings.
        counted: (N,) bool, false for the near ties of a hard ensemble.
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
        """The number of images that are not counted because two groups nearly tie."""
        return int((~self.counted).sum())

    @property
    def mean_cosine(self) -> float:
        """The mean cosine over the counted images, or NaN if none is counted."""
        return float(self.cosine[self.counted].mean()) if self.counted.any() else float("nan")

    @property
    def min_cosine(self) -> float:
        """The smallest cosine of the counted images, or NaN if none is counted."""
        return float(self.cosine[self.counted].min()) if self.counted.any() else float("nan")

    @property
    def max_abs_error(self) -> float:
        """The largest absolute difference of the counted images, or NaN if none is counted."""
        return float(self.max_abs[self.counted].max()) if self.counted.any() else float("nan")

    @property
    def group_agreement(self) -> float:
        """The share of the images for which both chose the same group."""
        return 1 - len(self.group_disagreements) / max(self.images, 1)

    def passed(self, precision: str | None = None) -> bool:
        """Returns whether the result is within the tolerance.

        `precision` replaces the result's own precision. At most 1 % of the images can be near ties,
        and one near tie is always allowed.
        """
        tolerance = TOLERANCES[precision or self.precision]
        return (
            tolerance.kept(getattr(self, tolerance.figure))
            and self.near_ties <= max(1, MAX_NEAR_TIES * self.images)
            and self.group_agreement >= tolerance.group_agreement
        )

    def require(self, precision: str | None = None) -> None:
        """Raises ValueError with all measurements if `passed` is false."""
        if self.passed(precision):
            return
        precision = precision or self.precision
        worst = int(np.argmin(self.cosine))
        tolerance = str(TOLERANCES[precision])
        # A network without groups always agrees, so it has no limit of the groups to show.
        if self.group_disagreements and (least := TOLERANCES[precision].group_agreement):
            tolerance += f", the same group for at least {least:.0%} of the images"
        flips = (
            f"; the same group for {self.group_agreement:.1%}, "
            f"different groups for {len(self.group_disagreements)} images, "
            f"of which {self.near_ties} are near ties"
            if self.group_disagreements
            else ""
        )
        raise ValueError(
            f"The artefact is outside the tolerance of {precision} ({tolerance}). "
            f"Over {self.images} images: max_abs_error {self.max_abs_error:.3g}, mean_cosine "
            f"{self.mean_cosine:.6f}, min_cosine {self.min_cosine:.6f}; worst image {worst} with "
            f"cosine {self.cosine[worst]:.6f}{flips}"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the measurements as plain values for a card or a report."""
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
    """Embeds the same images with a model and its artefact, and compares the embeddings.

    If two groups are equally likely, the rounding of a runtime decides which one a hard ensemble
    chooses. The embeddings then differ although the artefact is correct. Such an image is a near
    tie: the candidate is hard, the groups differ, and the reference's logits of the two groups
    differ by no more than numerical noise. Near ties do not count in the errors and cosines, but
    they are listed in `group_disagreements`, and the check fails if they are more than 1 % of the
    images. Every other disagreement counts in full.

    Args:
        reference: an `Embedder` of the Keras model, or any callable from images to an object with
            `embedding` and, for a model with groups, `group_logits`. If its `mode` differs from the
            candidate's, it runs in the candidate's mode and is set back afterwards.
        candidate: an `Embedder` of the artefact.
        images: (N, 112, 112, 3) uint8 or float32, N ≥ 1.
        precision: a key of `TOLERANCES`. The default is the candidate's `precision`, or fp32 if it
            has none.
        batch_size: number of images per call.

    Returns:
        The comparison. `passed()` applies the tolerance, and `require()` raises if it fails.

    Raises:
        ValueError: without images, or if the widths of the embeddings differ.
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
                    "`candidate` and `reference` must return embeddings of the same shape. "
                    f"Received: shapes {b.shape} and {a.shape}"
                )
            cosine.append((a * b).sum(axis=-1))
            max_abs.append(np.abs(a - b).max(axis=-1))
            new = _flips(expected, found, start, TOLERANCES[precision].near_tie)
            # A soft ensemble changes continuously with the logits, so it has no ties.
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
    """Sets the reference to the candidate's mode during the comparison."""
    before = getattr(reference, "mode", None)
    if mode is None or before is None or mode == before:
        yield
        return
    reference.mode = mode
    try:
        yield
    finally:
        reference.mode = before
