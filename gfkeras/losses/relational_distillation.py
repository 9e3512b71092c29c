"""Distillation of the relations between embeddings."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range
from gfkeras.layers.angular import MIN_SQUARED_NORM, unit_rows
from gfkeras.layers.checks import check_embeddings, same_where_known
from gfkeras.layers.replica import global_batch
from gfkeras.losses.embedding_loss import EmbeddingLoss


def _inverse_lengths(vectors: Any) -> Any:
    """Returns 1/‖x‖ of each row, (..., 1), or 0 if ‖x‖ < 1e-6.

    Such a short vector contains only rounding errors and has no direction.
    """
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    resolved = squared > MIN_SQUARED_NORM
    return ops.where(resolved, ops.rsqrt(ops.where(resolved, squared, 1.0)), 0.0)


def _row(array: Any, i: Any) -> Any:
    return ops.take(array, i, axis=0)


def _with_row(array: Any, i: Any, row: Any) -> Any:
    return ops.scatter_update(array, ops.reshape(i, (1, 1)), ops.expand_dims(row, 0))


def _directions(embedding: Any, j: Any) -> Any:
    """Returns the unit vectors from row j to every row, (B, D), and 1/distance, (B, 1)."""
    differences = embedding - _row(embedding, j)
    inverse = _inverse_lengths(differences)
    return differences * inverse, inverse


def pair_distances(embedding: Any) -> Any:
    """Returns ‖x_i − x_j‖ of all pairs, (B, B).

    The distances come from differences, because a matrix product loses small distances. The
    loop computes them row by row, and no (B, B, D) array exists. Rows that coincide pass no
    gradient to each other.
    """

    @ops.custom_gradient
    def row_by_row(embedding: Any) -> Any:
        count = ops.shape(embedding)[0]

        def distances(j: Any, found: Any) -> Any:
            directions, _ = _directions(embedding, j)
            row = ops.sum(directions * (embedding - _row(embedding, j)), axis=-1)
            return _with_row(found, j, row)

        # The batch size may be unknown, so this product gives the shape (B, B).
        square = ops.matmul(embedding, ops.transpose(embedding))
        found = ops.fori_loop(0, count, distances, ops.zeros_like(square))

        def gradient(upstream: Any) -> Any:
            both = upstream + ops.transpose(upstream)

            def pulls(j: Any, total: Any) -> Any:
                # d‖x_j − x_i‖/dx_j points from x_i to x_j.
                directions, _ = _directions(embedding, j)
                return _with_row(total, j, -ops.matmul(_row(both, j), directions))

            return ops.fori_loop(0, count, pulls, ops.zeros_like(embedding))

        return found, gradient

    return row_by_row(embedding)


def huber(difference: Any) -> Any:
    """Returns ½d² where |d| ≤ 1, and |d| − ½ elsewhere."""
    size = ops.abs(difference)
    return ops.where(size <= 1.0, 0.5 * ops.square(size), size - 0.5)


def _relative_distances(embedding: Any, others: Any) -> Any:
    """Returns ‖x_i − x_j‖ / μ, where μ is the mean over i ≠ j. If μ is 0, all values are 0."""
    distances = pair_distances(embedding) * others
    mean = ops.sum(distances) / ops.maximum(ops.sum(others), 1.0)
    apart = mean > 0
    return ops.where(apart, distances / ops.where(apart, mean, 1.0), 0.0)


def distance_wise(teacher: Any, student: Any) -> Any:
    """Returns the mean Huber loss between relative distances over the pairs i ≠ j, a scalar.

    The teacher gets no gradient.
    """
    index = ops.arange(ops.shape(student)[0])
    others = ops.cast(ops.expand_dims(index, 0) != ops.expand_dims(index, 1), "float32")
    target = ops.stop_gradient(_relative_distances(teacher, others))
    losses = huber(_relative_distances(student, others) - target)
    return ops.sum(losses * others) / ops.maximum(ops.sum(others), 1.0)


def angle_wise(teacher: Any, student: Any) -> Any:
    """Returns the mean Huber loss between cos ∠(x_i, x_j, x_k) over three different rows, a scalar.

    One pass over the middle points j gives the value and the gradient. At most B² of the B³
    angles exist at a time. The teacher gets no gradient.
    """

    @ops.custom_gradient
    def by_middle_point(teacher: Any, student: Any) -> Any:
        count = ops.shape(student)[0]
        index = ops.arange(count)
        distinct = ops.expand_dims(index, 0) != ops.expand_dims(index, 1)

        def middle(j: Any, carry: Any) -> Any:
            total, by_student = carry
            from_teacher, _ = _directions(teacher, j)
            directions, inverse = _directions(student, j)
            cosine = ops.matmul(directions, ops.transpose(directions))
            error = cosine - ops.matmul(from_teacher, ops.transpose(from_teacher))
            ends = index != j
            counted = ops.logical_and(ops.expand_dims(ends, 0), ops.expand_dims(ends, 1))
            error = ops.where(ops.logical_and(counted, distinct), error, 0.0)
            # The derivative of the Huber loss. (i, k) and (k, i) contribute equally, so it doubles.
            by_direction = 2.0 * ops.matmul(ops.clip(error, -1.0, 1.0), directions)
            along = ops.sum(by_direction * directions, axis=-1, keepdims=True)
            by_ends = (by_direction - along * directions) * inverse
            # Moving the middle point has the opposite effect of moving all ends.
            by_middle = _row(by_student, j) - ops.sum(by_ends, axis=0)
            return total + ops.sum(huber(error)), _with_row(by_student, j, by_middle) + by_ends

        start = (ops.zeros((), "float32"), ops.zeros_like(student))
        total, by_student = ops.fori_loop(0, count, middle, start)
        size = ops.cast(count, "float32")
        triplets = ops.maximum(size * (size - 1.0) * (size - 2.0), 1.0)

        return total / triplets, lambda upstream: (
            ops.zeros_like(teacher),
            upstream / triplets * by_student,
        )

    return by_middle_point(teacher, student)


@keras.saving.register_keras_serializable("gfkeras")
class RelationalDistillationLoss(EmbeddingLoss):
    """weight · (distance_weight·L_D + angle_weight·L_A): copies distances and angles of a teacher.

    Relational knowledge distillation, arXiv 1904.05068. The loss compares only relations
    within the batch, so the student's embeddings can have another width than the teacher's.
    The terms are

        L_D = mean_{i≠j} h(‖x_i − x_j‖ / μ_x − ‖t_i − t_j‖ / μ_t),
        L_A = mean_{i≠j≠k} h(cos ∠(x_i, x_j, x_k) − cos ∠(t_i, t_j, t_k)).

    h is the Huber loss with δ = 1, and μ is the mean distance over i ≠ j. The paper sums over
    pairs and triplets. The means used here make the weights independent of the batch size.
    The batch is the global batch of all replicas. Only the student gets a gradient. Rows
    closer than 1e-6 have no direction, and pass no gradient to each other. Time grows with
    B³·D, memory with B² and B·D.

    Args:
        distance_weight: weight of L_D.
        angle_weight: weight of L_A. The ratio of the defaults, 2 to 1, is the paper's.
        weight, name: see `EmbeddingLoss`.
        normalize: whether embeddings are divided by their norms first. A common scale of all
            embeddings has no effect on either term.

    Call arguments:
        teacher_embedding: (B, Dt) float.
        embedding: (B, Ds) float of the student.

    Returns:
        Scalar float32, 0 for fewer than three embeddings.

    Raises:
        ValueError: see `EmbeddingLoss`. Also for batches of different sizes.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.get("RelationalDistillationLoss", normalize=False)
        >>> teacher = np.array([[0.0], [1.0], [2.0]], "float32")
        >>> student = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0]], "float32")
        >>> round(float(loss(teacher, student)), 4)
        0.4071
        >>> float(loss(teacher, 10 * teacher))
        0.0
    """

    inputs = ("teacher_embedding", "embedding")

    def __init__(
        self,
        distance_weight: float = 1.0,
        angle_weight: float = 2.0,
        weight: float = 1.0,
        normalize: bool = True,
        name: str | None = None,
    ):
        super().__init__(weight=weight, name=name)
        self.distance_weight = in_range("distance_weight", distance_weight, 0, math.inf)
        self.angle_weight = in_range("angle_weight", angle_weight, 0, math.inf)
        self.normalize = bool(normalize)

    def batch_loss(self, teacher_embedding: Any, embedding: Any) -> Any:
        teacher = check_embeddings(teacher_embedding, "teacher_embedding")
        student = check_embeddings(embedding)
        if not same_where_known(teacher.shape[:1], student.shape[:1]):
            raise ValueError(
                "`teacher_embedding` and `embedding` must belong to the same images. Received: "
                f"{teacher.shape[0]} and {student.shape[0]} rows"
            )
        if self.normalize:
            teacher, student = unit_rows(teacher), unit_rows(student)
        teacher, student = global_batch(ops.stop_gradient(teacher)), global_batch(student)
        loss = ops.zeros((), "float32")
        # A term with the weight 0 is not computed, to save its time.
        if self.distance_weight:
            loss = loss + self.distance_weight * distance_wise(teacher, student)
        if self.angle_weight:
            loss = loss + self.angle_weight * angle_wise(teacher, student)
        return loss
