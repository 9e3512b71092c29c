"""The multi-class N-pair loss."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range
from gfkeras.layers import global_batch
from gfkeras.layers.checks import check_embeddings, check_labels, same_where_known
from gfkeras.losses.embedding_loss import EmbeddingLoss

# Replaces the similarity of a row to itself. Its exponential is 0 and its gradient is finite.
LEFT_OUT = -1e30


@keras.saving.register_keras_serializable("gfkeras")
class NPairsLoss(EmbeddingLoss):
    """Softmax cross-entropy of similarities: each anchor has to choose its own positive.

    The loss is −Σ_j t_ij log softmax_j(a_i · p_j), averaged over the anchors. Anchor i has n_i
    positives with its label. For them t_ij is 1/n_i, and for all others 0 (Sohn, "Improved deep
    metric learning with multi-class N-pair loss objective", NIPS 2016). It equals
    tensorflow-addons' `NpairsLoss` of the similarities. The embeddings are not normalised. If
    yours are unit vectors, the loss stays large, since cosines differ by at most 2.

    Without `positives`, the rows of the batch are both anchors and positives. The similarity
    of a row to itself is left out, and a row that is the only one with its label is not an
    anchor.

    Args:
        weight, name: see `EmbeddingLoss`.
        l2_weight: adds l2_weight · mean ‖x‖² over all embeddings, the paper's regulariser. It
            keeps embeddings that are not normalised from growing.

    Call arguments:
        labels: (B,) int.
        anchors: (B, D) float.
        positives: (B, D) float. Row i shows the identity of anchor i. With None, the anchors
            are compared with each other.

    Returns:
        Scalar float32, 0 without anchors.

    Raises:
        ValueError: see `EmbeddingLoss`. Also for a negative `l2_weight`, and for anchors and
            positives of different shapes.

    Example:
        >>> import gfkeras, numpy as np
        >>> anchors = np.array([[2.0, 0.0], [0.0, 2.0]])
        >>> loss = gfkeras.losses.NPairsLoss()
        >>> round(float(loss(np.array([0, 1]), anchors, anchors)), 4)
        0.0181
    """

    def __init__(self, weight: float = 1.0, l2_weight: float = 0.0, name: str | None = None):
        super().__init__(weight=weight, name=name)
        self.l2_weight = in_range("l2_weight", l2_weight, 0, math.inf)

    def batch_loss(self, labels: Any, anchors: Any, positives: Any = None) -> Any:
        anchors = check_embeddings(anchors, "anchors")
        labels = check_labels(labels, embeddings=anchors)
        if positives is not None:
            positives = check_embeddings(positives, "positives")
            if not same_where_known(positives.shape, anchors.shape):
                raise ValueError(
                    f"`positives` must have the shape of the anchors, {tuple(anchors.shape)}. "
                    f"Received: a shape of {tuple(positives.shape)}"
                )
            positives = global_batch(positives)
        anchors, labels = global_batch(anchors), global_batch(labels)
        loss = n_pairs_loss(labels, anchors, positives)
        if self.l2_weight:
            both = [anchors] if positives is None else [anchors, positives]
            squares = [ops.mean(ops.sum(ops.square(rows), axis=1)) for rows in both]
            loss = loss + self.l2_weight * sum(squares) / len(squares)
        return loss


def n_pairs_loss(labels: Any, anchors: Any, positives: Any = None) -> Any:
    """Returns the mean over the anchors, a scalar. The arguments are those of `NPairsLoss`."""
    same = labels[:, None] == labels[None]
    similarity = ops.matmul(anchors, ops.transpose(anchors if positives is None else positives))
    if positives is None:
        itself = ops.eye(ops.shape(labels)[0], dtype="bool")
        same = ops.logical_and(same, ops.logical_not(itself))
        similarity = ops.where(itself, LEFT_OUT, similarity)
    same = ops.cast(same, "float32")
    number = ops.sum(same, axis=1)
    target = ops.sum(same * similarity, axis=1) / ops.maximum(number, 1.0)
    is_anchor = number > 0
    each = ops.where(is_anchor, ops.logsumexp(similarity, axis=1) - target, 0.0)
    mean = ops.sum(each) / ops.maximum(ops.sum(ops.cast(is_anchor, "float32")), 1.0)
    # A NaN in a row that is not an anchor would not reach the mean, so it is checked here.
    finite = ops.all(ops.isfinite(anchors))
    if positives is not None:
        finite = ops.logical_and(finite, ops.all(ops.isfinite(positives)))
    return mean * ops.where(finite, 1.0, float("nan"))
