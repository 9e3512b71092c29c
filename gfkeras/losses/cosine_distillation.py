"""Distillation of embeddings by their directions."""

from typing import Any

import keras
from keras import ops

from gfkeras.layers.angular import unit_rows
from gfkeras.layers.checks import check_embeddings, same_where_known
from gfkeras.layers.replica import share_of_mean
from gfkeras.losses.embedding_loss import EmbeddingLoss


@keras.saving.register_keras_serializable("gfkeras")
class CosineDistillationLoss(EmbeddingLoss):
    """weight · mean_i (1 − cos(t_i, x_i)): turns a student's embeddings towards its teacher's.

    Use it if you compare the student's embeddings with the teacher's, for example with a
    gallery that you already enrolled. `RelationalDistillationLoss` lets the student choose
    its own space instead. For unit vectors, 1 − cos is half the squared distance. Only the
    student gets a gradient. You can compute the teacher's embeddings in advance and train on
    them as targets: `model.compile(loss=CosineDistillationLoss())`.

    Args:
        weight, name: see `EmbeddingLoss`.

    Call arguments:
        teacher_embedding: (B, D) float, not normalised.
        embedding: (B, D) float of the student, not normalised.

    Returns:
        Scalar float32 in [0, 2·weight].

    Raises:
        ValueError: see `EmbeddingLoss`. Also for embeddings of different shapes.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.get("CosineDistillationLoss")
        >>> teacher = np.array([[1.0, 0.0], [0.0, 2.0]], "float32")
        >>> student = np.array([[3.0, 0.0], [1.0, 1.0]], "float32")
        >>> round(float(loss(teacher, student)), 4)
        0.1464
    """

    inputs = ("teacher_embedding", "embedding")
    in_teacher_space = True

    def batch_loss(self, teacher_embedding: Any, embedding: Any) -> Any:
        teacher = check_embeddings(teacher_embedding, "teacher_embedding")
        embedding = check_embeddings(embedding)
        if not same_where_known(teacher.shape, embedding.shape):
            raise ValueError(
                "`teacher_embedding` and `embedding` must have the same shape. Received: "
                f"shapes of {tuple(teacher.shape)} and {tuple(embedding.shape)}"
            )
        cosine = ops.sum(unit_rows(ops.stop_gradient(teacher)) * unit_rows(embedding), axis=-1)
        return share_of_mean(1.0 - cosine)
