"""Calibration faces, and the embeddings a .tflite in memory gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfkeras.backend import load_litert

MIN_FACES = 32
# More faces change ranges by less than rounding does.
MAX_FACES = 256
# One in four of them is kept back, to choose among ranges by.
_KEPT_BACK = 4


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Faces to see ranges on, and others to judge them by.

    Attributes:
        seen: (N, H, W, 3) float32, at most 192.
        kept_back: (M, H, W, 3) float32, at most 64.
        learned: (L, H, W, 3), all that are not kept back, to fine-tune on.
    """

    seen: np.ndarray
    kept_back: np.ndarray
    learned: np.ndarray

    @classmethod
    def of(cls, images: Any, shape: tuple[int, ...]) -> Calibration:
        """Shares out at least 32 images of `shape`; of at most 256, every fourth is kept back."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != tuple(shape):
            raise ValueError(
                f"`calibration` must be aligned faces of shape (N, {', '.join(map(str, shape))}). "
                f"Received: shape {images.shape}"
            )
        if len(images) < MIN_FACES:
            raise ValueError(
                f"`calibration` must hold at least {MIN_FACES} faces. Received: {len(images)}"
            )
        if not np.isfinite(images).all() or images.min() < 0 or images.max() > 255:
            raise ValueError(
                "`calibration` must hold values of 0…255. "
                f"Received: values of {images.min():g} to {images.max():g}"
            )
        if images.max() <= 1:
            raise ValueError(
                "`calibration` must hold values of 0…255. Received: none above 1, as if scaled"
            )
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
    """Embeddings, (N, D) of length 1, and (N,) groups of the largest logit, or None."""

    embedding: np.ndarray
    group: np.ndarray | None

    @classmethod
    def of(cls, outputs: Mapping[str, np.ndarray]) -> Embeddings:
        """From an artefact's outputs."""
        embedding = outputs["embedding"].astype(np.float64)
        embedding /= np.maximum(np.linalg.norm(embedding, axis=-1, keepdims=True), 1e-12)
        logits = outputs.get("group_logits")
        return cls(embedding, None if logits is None else logits.argmax(axis=-1))

    def mean_cosine(self, expected: Embeddings) -> float:
        return float((self.embedding * expected.embedding).sum(axis=-1).mean())

    def group_agreement(self, expected: Embeddings) -> float | None:
        """Share of the images for which both choose the same group."""
        if self.group is None or expected.group is None:
            return None
        return float((self.group == expected.group).mean())


def embed(content: bytes, images: np.ndarray) -> Embeddings:
    """Runs a .tflite with float ends on (N, H, W, 3) float32, image by image."""
    litert = load_litert()
    runner = litert.Interpreter(model_content=content, num_threads=1).get_signature_runner()
    given = runner.get_input_details()
    (name,) = given
    rows = [runner(**{name: image[np.newaxis]}) for image in images]
    return Embeddings.of({key: np.concatenate([row[key] for row in rows]) for key in rows[0]})
