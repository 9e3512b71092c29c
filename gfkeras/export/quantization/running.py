"""What a .tflite in memory gives for some images."""

from __future__ import annotations

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
    embedding = np.concatenate([row["embedding"] for row in rows]).astype(np.float64)
    embedding /= np.maximum(np.linalg.norm(embedding, axis=-1, keepdims=True), 1e-12)
    if "group_logits" not in rows[0]:
        return Embeddings(embedding, None)
    return Embeddings(embedding, np.array([int(row["group_logits"].argmax()) for row in rows]))
