"""What all margin heads share: normalising, clipping, scaling, checking labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import positive_int

# Squared norms below this are those of a zero vector: it has no direction, its
# cosines are 0 and its gradient stays finite.
MIN_SQUARED_NORM = 1e-12


def _unit_rows(vectors: Any) -> Any:
    vectors = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, MIN_SQUARED_NORM))


def cosine_similarity(embedding: Any, centers: Any) -> Any:
    """Cosines of all pairs of rows, in float32 and within [−1, 1].

    Args:
        embedding: (B, D) float.
        centers: (N, D) float.

    Returns:
        (B, N) float32. Rounding puts products of unit vectors outside [−1, 1];
        they are clipped, for an angle is taken of them.
    """
    cosine = ops.matmul(_unit_rows(embedding), ops.transpose(_unit_rows(centers)))
    return ops.clip(cosine, -1.0, 1.0)


def check_labels(labels: Any, num_classes: int) -> None:
    """Raises ValueError for labels that are known now and no class indices.

    Inside a compiled step values are not known; there a label out of range gives
    logits without a margin and a NaN loss (`gfkeras.models.FaceClassifier`).
    """
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "int" not in dtype:
        raise ValueError(
            f"`labels` must be integers. Received: labels of dtype {dtype} and shape "
            f"{tuple(labels.shape)}"
        )
    if not isinstance(labels, np.ndarray):
        try:
            labels = ops.convert_to_numpy(labels)
        except Exception:  # noqa: BLE001 - a symbolic tensor: each backend has its own error.
            return
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"`labels` must lie in [0, {num_classes}). Received: labels from {labels.min()} "
            f"to {labels.max()}"
        )


class MarginHead(keras.layers.Layer):
    """Base of the margin heads: one center per identity, logits s·f(cos θ).

    A subclass states in `with_margin` what becomes of the target's cosine. All
    arithmetic is float32 under any dtype policy, since a margin is taken of an
    angle whose cosine has 3 digits in bfloat16.

    Args:
        num_classes: N, the number of identities.
        scale: s, multiplies all logits.

    Call arguments:
        embedding: (B, D) float, not normalised.
        labels: (B,) int in [0, N), or None for s·cos θ without a margin.

    Returns:
        Logits, (B, N) float32.

    Raises:
        ValueError: for embeddings that are not 2-D, float labels, labels of another
            length, and, where values are known (eagerly), labels outside [0, N).
    """

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.num_classes = positive_int("num_classes", num_classes)
        if not scale > 0:
            raise ValueError(f"`scale` must be positive. Received: scale={scale!r}")
        self.scale = float(scale)

    def build(self, embedding_shape: tuple[int | None, ...], labels_shape: Any = None) -> None:
        if len(embedding_shape) != 2 or embedding_shape[-1] is None:
            raise ValueError(
                "`embedding` must have the shape (batch, dimensions). "
                f"Received: a shape of {tuple(embedding_shape)}"
            )
        self.centers = self.add_weight(
            name="centers",
            shape=(self.num_classes, embedding_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
        )

    def call(self, embedding: Any, labels: Any = None) -> Any:
        cosine = self.cosine(embedding)
        return cosine * self.scale if labels is None else self.with_margin(cosine, labels)

    def cosine(self, embedding: Any) -> Any:
        """cos θ_j of each embedding with each center, (B, N) float32."""
        if len(embedding.shape) != 2:
            raise ValueError(
                "`embedding` must have the shape (batch, dimensions). "
                f"Received: a shape of {tuple(embedding.shape)}"
            )
        return cosine_similarity(embedding, self.centers)

    def with_margin(self, cosine: Any, labels: Any) -> Any:
        """Logits with the margin on the target class.

        Args:
            cosine: (B, N) float32 of `cosine`.
            labels: (B,) int.

        Returns:
            (B, N) float32.
        """
        labels = ops.convert_to_tensor(labels)
        if len(labels.shape) != 1:
            raise ValueError(
                f"`labels` must have the shape (batch,). Received: a shape of {tuple(labels.shape)}"
            )
        check_labels(labels, self.num_classes)
        index = ops.expand_dims(ops.clip(labels, 0, self.num_classes - 1), -1)
        target = self.target_cosine(ops.take_along_axis(cosine, index, axis=1))
        is_target = ops.equal(
            ops.expand_dims(labels, -1), ops.arange(self.num_classes, dtype=labels.dtype)
        )
        return ops.where(is_target, target, cosine) * self.scale

    def target_cosine(self, cosine: Any) -> Any:
        """What replaces the target's cosine, (B, 1) in and out."""
        raise NotImplementedError

    def compute_output_spec(self, embedding: Any, labels: Any = None) -> keras.KerasTensor:
        return keras.KerasTensor((embedding.shape[0], self.num_classes), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "scale": self.scale}
