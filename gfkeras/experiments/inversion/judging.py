"""Judging inverted images: likeness to the target, and strips of their course."""

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
    """Cosines of N inverted images with their targets under one network."""

    # (N,), with each image's own target.
    cosine: np.ndarray
    # (N,), the mean with the other targets, NaN where there are none: what the network gives to
    # an image of anybody.
    others: np.ndarray

    @classmethod
    def between(cls, pictures: np.ndarray, targets: np.ndarray, owner: np.ndarray) -> Likeness:
        """Of unit embeddings (N, D) with targets (T, D), `owner` (N,) the row of each image's."""
        table = pictures @ targets.T
        own = table[np.arange(len(pictures)), owner]
        count = targets.shape[0] - 1
        others = (table.sum(axis=1) - own) / count if count else np.full(len(own), np.nan)
        return cls(own.astype(np.float32), others.astype(np.float32))

    def summary(self) -> dict[str, Any]:
        """Mean, spread and least, for reports."""
        return {
            "mean_cosine": float(self.cosine.mean()),
            "std_cosine": float(self.cosine.std()),
            "min_cosine": float(self.cosine.min()),
            "mean_cosine_others": float(self.others.mean()),
        }


def judged(
    embedder: Embedder, pictures: np.ndarray, targets: Targets, owner: np.ndarray
) -> Likeness:
    """Under the attacked network, with the very embeddings that were to be reached.

    `pictures` are (N, S, S, 3) uint8, `owner` (N,) is the target of each.
    """
    return Likeness.between(embedder(pictures).embedding, targets.embedding, owner)


def judged_by_faces(
    embedder: Embedder, pictures: np.ndarray, faces: Sequence[np.ndarray], owner: np.ndarray
) -> Likeness:
    """Under another network, with its own mean embedding of real faces of each target.

    `faces` are the photos of each target, (M, S, S, 3) uint8, M ≥ 1; the rest as of `judged`.
    """
    real = np.stack([embedder(images).embedding.mean(axis=0) for images in faces])
    return Likeness.between(embedder(pictures).embedding, unit("faces", real), owner)


def course(
    rows: Sequence[tuple[str, str, Sequence[np.ndarray]]], steps: Sequence[int]
) -> Image.Image:
    """One page of rows (name, a line below it, the image (S, S, 3) uint8 after each of `steps`)."""
    headings = ["noise", *(f"{step:,} steps" for step in steps[1:])]
    return contact_sheet(rows, "", len(steps), headings)
