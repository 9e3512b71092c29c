"""What a .tflite in memory gives for some images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfkeras.errors import require


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Attributes:
    embedding: (N, D), L2-normalised.
    group: (N,) the group of the largest logit, or None.
    """

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
    """Runs a .tflite with float ends, image by image.

    Args:
        content: of the file.
        images: (N, H, W, 3) float32.
    """
    litert: Any = require("ai_edge_litert.interpreter", "export")
    runner = litert.Interpreter(model_content=content, num_threads=1).get_signature_runner()
    given = runner.get_input_details()
    (name,) = given
    rows = [runner(**{name: image[np.newaxis]}) for image in images]
    return Embeddings.of({key: np.concatenate([row[key] for row in rows]) for key in rows[0]})
