"""Judging inverted images: similarity to the target, and strips of their progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from gfkeras.data.statistics import contact_sheet
from gfkeras.experiments.inversion.targets import Targets, unit
from gfkeras.inference import Embedder


@dataclasses.dataclass(frozen=True, eq=False)
class Likeness:
    """Cosines of N inverted images with their targets, measured by one model."""

    # (N,) with the image's own target.
    cosine: np.ndarray
    # (N,) the mean with the other targets, or NaN without other targets. It is the value that the
    # model gives to an image of a random person.
    others: np.ndarray

    @classmethod
    def between(cls, pictures: np.ndarray, targets: np.ndarray, owner: np.ndarray) -> Likeness:
        """Compares unit embeddings (N, D) with targets (T, D). `owner` (N,) are their targets."""
        table = pictures @ targets.T
        own = table[np.arange(len(pictures)), owner]
        count = targets.shape[0] - 1
        others = (table.sum(axis=1) - own) / count if count else np.full(len(own), np.nan)
        return cls(own.astype(np.float32), others.astype(np.float32))

    def summary(self) -> dict[str, Any]:
        """Returns mean, spread and minimum, for reports."""
        return {
            "mean_cosine": float(self.cosine.mean()),
            "std_cosine": float(self.cosine.std()),
            "min_cosine": float(self.cosine.min()),
            "mean_cosine_others": float(self.others.mean()),
        }


def judged(
    embedder: Embedder, pictures: np.ndarray, targets: Targets, owner: np.ndarray
) -> Likeness:
    """Judges images by the attacked model, with the embeddings that were to be reached.

    `pictures` are (N, S, S, 3) uint8. `owner` (N,) is the target of each image.
    """
    return Likeness.between(embedder(pictures).embedding, targets.embedding, owner)


def judged_by_faces(
    embedder: Embedder, pictures: np.ndarray, faces: Sequence[np.ndarray], owner: np.ndarray
) -> Likeness:
    """Judges images by another model, with its mean embedding of real faces of each target.

    `faces` are the photos of each target, (M, S, S, 3) uint8, M ≥ 1. See `judged` for the others.
    """
    real = np.stack([embedder(images).embedding.mean(axis=0) for images in faces])
    return Likeness.between(embedder(pictures).embedding, unit("faces", real), owner)


def course(
    rows: Sequence[tuple[str, str, Sequence[np.ndarray]]], steps: Sequence[int]
) -> Image.Image:
    """Draws rows of (name, a line below it, the image (S, S, 3) uint8 after each of `steps`)."""
    headings = ["noise", *(f"{step:,} steps" for step in steps[1:])]
    return contact_sheet(rows, "", len(steps), headings)
