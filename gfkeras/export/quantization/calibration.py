"""Calibration faces, and their embeddings by a .tflite in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfkeras.backend import load_litert
from gfkeras.errors import wrong

MIN_FACES = 32
# More faces change the ranges by less than one rounding step.
MAX_FACES = 256
# Every fourth face is kept back to choose between ranges. Faces that the ranges were measured on
# would favour the ranges that fit them best.
_KEPT_BACK = 4


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Faces for measuring ranges, and other faces for judging them.

    `seen` are at most 192 faces, (N, H, W, 3) float32, to measure ranges on, and `kept_back` at
    most 64 to judge ranges by. `learned` are all faces except those kept back, for fine-tuning.
    """

    seen: np.ndarray
    kept_back: np.ndarray
    learned: np.ndarray

    @classmethod
    def of(cls, images: Any, shape: tuple[int, ...]) -> Calibration:
        """Divides at least 32 images of `shape`.

        At most 256 of them are used for ranges, and every fourth of these is kept back. Raises
        ValueError for another shape, too few images, or values outside 0…255.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != tuple(shape):
            expected = f"be aligned faces of shape (N, {', '.join(map(str, shape))})"
            raise wrong("calibration", expected, f"shape {images.shape}")
        if len(images) < MIN_FACES:
            raise wrong("calibration", f"hold at least {MIN_FACES} faces", len(images))
        if not np.isfinite(images).all() or images.min() < 0 or images.max() > 255:
            received = f"values of {images.min():g} to {images.max():g}"
            raise wrong("calibration", "have values of 0…255", received)
        if images.max() <= 1:
            received = "no value above 1, probably scaled images"
            raise wrong("calibration", "have values of 0…255", received)
        # Evenly spaced faces, because neighbours in a list are often the same person.
        chosen = np.linspace(0, len(images) - 1, min(len(images), MAX_FACES)).astype(int)
        kept_back = chosen[::_KEPT_BACK]
        seen = np.setdiff1d(chosen, kept_back)
        return cls(
            images[seen].astype(np.float32),
            images[kept_back].astype(np.float32),
            np.delete(images, kept_back, axis=0),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """L2-normalised embeddings, (N, D), and the chosen groups, (N,), or None without groups."""

    embedding: np.ndarray
    group: np.ndarray | None

    @classmethod
    def of(cls, outputs: Mapping[str, np.ndarray]) -> Embeddings:
        """Returns the embeddings and chosen groups in an artefact's outputs."""
        embedding = outputs["embedding"].astype(np.float64)
        embedding /= np.maximum(np.linalg.norm(embedding, axis=-1, keepdims=True), 1e-12)
        logits = outputs.get("group_logits")
        return cls(embedding, None if logits is None else logits.argmax(axis=-1))

    def mean_cosine(self, expected: Embeddings) -> float:
        """Returns the mean cosine between the two embeddings of each image."""
        return float((self.embedding * expected.embedding).sum(axis=-1).mean())

    def group_agreement(self, expected: Embeddings) -> float | None:
        """Returns the share of images with the same group in both, or None without groups."""
        if self.group is None or expected.group is None:
            return None
        return float((self.group == expected.group).mean())


def embed(content: bytes, images: np.ndarray) -> Embeddings:
    """Embeds (N, H, W, 3) float32 images one by one with a .tflite that has float ends."""
    litert = load_litert()
    runner = litert.Interpreter(model_content=content, num_threads=1).get_signature_runner()
    given = runner.get_input_details()
    (name,) = given
    rows = [runner(**{name: image[np.newaxis]}) for image in images]
    return Embeddings.of({key: np.concatenate([row[key] for row in rows]) for key in rows[0]})
