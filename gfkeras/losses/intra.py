"""The intra-class loss of the ArcFace paper."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.layers.angular import unit_rows
from gfkeras.layers.checks import check_embeddings, check_labels, in_classes, rows_of
from gfkeras.layers.replica import share_of_mean
from gfkeras.losses.embedding_loss import EmbeddingLoss


def _lengths(vectors: Any) -> Any:
    """‖x‖ of each row, (B,); a zero row passes no gradient instead of an infinite one."""
    squared = ops.sum(ops.square(vectors), axis=-1)
    zero = squared == 0
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squared)))


def paired_angles(a: Any, b: Any) -> Any:
    """θ between each row of `a` and the same row of `b`, (B,) float32 radians.

    θ = 2·atan2(‖u − v‖, ‖u + v‖) of the unit vectors u, v. An arccos of a float32 cosine
    knows angles near 0 and π to 3e-4 only and has an infinite derivative there; this knows
    them to float32's precision, and its derivative has norm 1 for unit vectors, 0 where u = ±v.
    A zero row, which has no direction, has π/2 to all others.
    """
    u, v = unit_rows(a), unit_rows(b)
    apart, along = _lengths(u - v), _lengths(u + v)
    undirected = ops.logical_and(apart == 0, along == 0)
    return 2.0 * ops.arctan2(ops.where(undirected, 1.0, apart), ops.where(undirected, 1.0, along))


def intra_loss(labels: Any, embedding: Any, centers: Any) -> Any:
    """mean_i θ_{y_i} / π, a scalar float32; NaN where a label is no center's index."""
    labels = ops.cast(labels, "int32")
    angles = paired_angles(embedding, rows_of(labels, centers))
    known = in_classes(labels, centers.shape[0])
    return share_of_mean(ops.where(known, angles, float("nan"))) / math.pi


@keras.saving.register_keras_serializable("gfkeras")
class IntraLoss(EmbeddingLoss):
    """weight · mean_i θ_{y_i} / π, the angle between an embedding and its class's center.

    The Intra-Loss of arXiv 1801.07698, added there to the softmax of normalised
    features to make classes compact. The gradient goes to the embeddings and to the
    head's centers. Of the N centers only the batch's B are read.

    Args:
        weight, name: as of `EmbeddingLoss`; the paper's weight is 1.

    Call arguments:
        labels: (B,) int in [0, N).
        embedding: (B, D) float, not normalised.
        centers: (N, D) float of the head, not normalised.

    Returns:
        Scalar float32.

    Raises:
        ValueError: as of `EmbeddingLoss`, and for centers of another width than the embeddings.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.get("IntraLoss")
        >>> embedding = np.array([[2.0, 0.0], [0.0, 1.0]], "float32")
        >>> centers = np.array([[0.0, 1.0], [0.0, 3.0]], "float32")
        >>> round(float(loss(np.array([0, 1]), embedding, centers)), 4)
        0.25
    """

    inputs = ("labels", "embedding", "centers")

    def batch_loss(self, labels: Any, embedding: Any, centers: Any) -> Any:
        embedding = check_embeddings(embedding)
        centers = check_embeddings(centers, "centers")
        if embedding.shape[1] != centers.shape[1]:
            raise ValueError(
                "`embedding` and `centers` must have as many dimensions. Received: "
                f"embedding of {embedding.shape[1]} and centers of {centers.shape[1]}"
            )
        labels = check_labels(labels, centers.shape[0], embedding)
        return intra_loss(labels, embedding, centers)
