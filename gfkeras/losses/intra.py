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
    """Returns ‖x‖ of each row, (B,). The gradient of a zero row is 0 instead of infinite."""
    squared = ops.sum(ops.square(vectors), axis=-1)
    zero = squared == 0
    # The inner `where` is needed too. The infinite gradient of sqrt(0) would become NaN even if the
    # outer one does not select it.
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squared)))


def paired_angles(a: Any, b: Any) -> Any:
    """Returns θ between each row of `a` and the same row of `b`, (B,) float32 radians.

    θ = 2·atan2(‖u − v‖, ‖u + v‖) for the unit vectors u and v. Near 0 and π, the arccos of a
    float32 cosine is precise only to 3e-4, and its derivative is infinite. This formula has
    full float32 precision everywhere. Its derivative has norm 1 for unit vectors, and is 0
    if u = ±v. A zero row has no direction, so its angle to every row is π/2.
    """
    u, v = unit_rows(a), unit_rows(b)
    apart, along = _lengths(u - v), _lengths(u + v)
    undirected = ops.logical_and(apart == 0, along == 0)
    return 2.0 * ops.arctan2(ops.where(undirected, 1.0, apart), ops.where(undirected, 1.0, along))


def intra_loss(labels: Any, embedding: Any, centers: Any) -> Any:
    """Returns mean_i θ_{y_i} / π, a scalar float32, NaN for a label without a center."""
    labels = ops.cast(labels, "int32")
    angles = paired_angles(embedding, rows_of(labels, centers))
    known = in_classes(labels, centers.shape[0])
    return share_of_mean(ops.where(known, angles, float("nan"))) / math.pi


@keras.saving.register_keras_serializable("gfkeras")
class IntraLoss(EmbeddingLoss):
    """weight · mean_i θ_{y_i} / π, the angle between an embedding and its class's center.

    The Intra-Loss of arXiv 1801.07698. The paper adds it to a softmax on normalised features
    to make the classes compact. The embeddings and the head's centers get the gradient. The
    loss reads only the centers of the batch's classes.

    Args:
        weight, name: see `EmbeddingLoss`. The paper's weight is 1.

    Call arguments:
        labels: (B,) int in [0, N).
        embedding: (B, D) float, not normalised.
        centers: (N, D) float of the head, not normalised.

    Returns:
        Scalar float32 in [0, weight].

    Raises:
        ValueError: see `EmbeddingLoss`. Also for centers with another width than the
            embeddings.

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
                "`embedding` and `centers` must have the same number of dimensions. Received: "
                f"embedding with {embedding.shape[1]} and centers with {centers.shape[1]}"
            )
        labels = check_labels(labels, centers.shape[0], embedding)
        return intra_loss(labels, embedding, centers)
