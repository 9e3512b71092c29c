"""The multi-class N-pair loss."""

from typing import Any

import keras
from keras import ops

from gfkeras.layers import global_batch
from gfkeras.layers.checks import check_embeddings, check_labels, same_where_known
from gfkeras.losses.embedding_loss import EmbeddingLoss

# In place of the similarity of a row to itself: its exponential is 0, and its gradient finite.
LEFT_OUT = -1e30


@keras.saving.register_keras_serializable("gfkeras")
class NPairsLoss(EmbeddingLoss):
    """Softmax cross-entropy of similarities: each anchor shall choose its own positive.

    −Σ_j t_ij log softmax_j(a_i · p_j), averaged over the anchors, with t_ij = 1/n_i for the
    n_i positives of anchor i's label and 0 for the others (Sohn, "Improved deep metric
    learning with multi-class N-pair loss objective", NIPS 2016). As tensorflow-addons'
    `NpairsLoss` of the similarities. The products are of the embeddings as they are; where
    those are unit vectors the loss stays large, for cosines differ by at most 2.

    Called with one batch, its rows are anchors and positives at once: the similarity of a
    row to itself is left out, and rows without another one of their label are no anchors.

    Args:
        weight, name: as of `EmbeddingLoss`.
        l2_weight: adds l2_weight · mean ‖x‖² of all embeddings, which keeps unnormalised
            ones from growing; the paper's regulariser.

    Call arguments:
        labels: (B,) int.
        anchors: (B, D) float.
        positives: (B, D) float, row i of the identity of anchor i; None takes the anchors
            against themselves.

    Returns:
        Scalar float32, 0 without anchors.

    Raises:
        ValueError: as of `EmbeddingLoss`, for a negative `l2_weight`, and for anchors and
            positives of unlike shapes.

    Example:
        >>> import gfkeras, numpy as np
        >>> anchors = np.array([[2.0, 0.0], [0.0, 2.0]])
        >>> loss = gfkeras.losses.NPairsLoss()
        >>> round(float(loss(np.array([0, 1]), anchors, anchors)), 4)
        0.0181
    """

    def __init__(self, weight: float = 1.0, l2_weight: float = 0.0, name: str | None = None):
        super().__init__(weight=weight, name=name)
        if not 0 <= l2_weight < float("inf"):
            raise ValueError(f"`l2_weight` must not be negative. Received: l2_weight={l2_weight!r}")
        self.l2_weight = float(l2_weight)

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
    """The mean over the anchors, a scalar; arguments as of `NPairsLoss`, in float32."""
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
    # Rows that are no anchor must not hide a NaN.
    finite = ops.all(ops.isfinite(anchors))
    if positives is not None:
        finite = ops.logical_and(finite, ops.all(ops.isfinite(positives)))
    return mean * ops.where(finite, 1.0, float("nan"))
