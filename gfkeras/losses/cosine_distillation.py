"""Distillation of embeddings by their directions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gfkeras.layers.angular import unit_rows
from gfkeras.layers.checks import check_embeddings
from gfkeras.losses.embedding_loss import EmbeddingLoss


def cosine_distances(teacher: Any, embedding: Any) -> Any:
    """1 − cos(t_i, x_i) of each row, (B,) float32; 1 where a row is zero."""
    return 1.0 - ops.sum(unit_rows(teacher) * unit_rows(embedding), axis=-1)


@keras.saving.register_keras_serializable("gfkeras")
class CosineDistillationLoss(EmbeddingLoss):
    """weight · mean_i (1 − cos(t_i, x_i)): a student's embedding points where its teacher's does.

    For a student whose embeddings are to be compared with the teacher's, as of a gallery
    that is enrolled already: `RelationalDistillationLoss` lets the student choose its own
    space. With unit vectors it is half the squared distance. The gradient goes to the
    student only. Teacher embeddings computed in advance can be a model's targets:
    `model.compile(loss=CosineDistillationLoss())`.

    Args:
        weight: what the loss is multiplied by.
        name: as of `keras.losses.Loss`.

    Call arguments:
        teacher_embedding: (B, D) float, not normalised.
        embedding: (B, D) float of the student, not normalised.

    Returns:
        Scalar float32 in [0, 2·weight].

    Raises:
        ValueError: for embeddings that are not 2-D floats of one shape and, where values
            are known (eagerly), not finite. In a compiled step embeddings that are not
            finite give a loss that is not.

    Example:
        >>> import numpy as np
        >>> import gfkeras
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
        for given, own in zip(teacher.shape, embedding.shape, strict=True):
            if given is not None and own is not None and given != own:
                raise ValueError(
                    "`teacher_embedding` and `embedding` must have the same shape. Received: "
                    f"shapes of {tuple(teacher.shape)} and {tuple(embedding.shape)}"
                )
        return ops.mean(cosine_distances(ops.stop_gradient(teacher), embedding))
