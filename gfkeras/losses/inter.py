"""The inter-class loss of the ArcFace paper."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive_int
from gfkeras.layers.angular import MIN_SQUARED_SINE, unit_rows
from gfkeras.layers.checks import check_embeddings, check_labels, in_classes, rows_of
from gfkeras.losses.embedding_loss import EmbeddingLoss


def _as_blocks(rows: Any, size: int) -> Any:
    """Returns rows (N, D) as (blocks, size, D). Zero rows fill up the last block."""
    count, dimensions = rows.shape
    blocks = -(-count // size)
    rows = ops.pad(rows, [[0, blocks * size - count], [0, 0]])
    return ops.reshape(rows, (blocks, size, dimensions))


def _added(blocks: Any, i: Any, summand: Any) -> Any:
    """Returns the blocks with `summand` added to block i."""
    summand = ops.expand_dims(ops.take(blocks, i, axis=0) + summand, 0)
    return ops.scatter_update(blocks, ops.reshape(i, (1, 1)), summand)


def _angles_to_block(rows: Any, own: Any, block: Any, start: Any, count: int) -> Any:
    """Returns Σ arccos(row · center) over a block's centers, (R,), and d arccos / d cosine, (R, S).

    `rows` (R, D) and `block` (S, D) are unit vectors. The block holds the centers from index
    `start`. A row skips the center with its index in `own`, and all rows skip the padding after
    `count` centers.
    """
    # Rounding can make a cosine larger than 1, for which arccos is NaN.
    cosine = ops.clip(ops.matmul(rows, ops.transpose(block)), -1.0, 1.0)
    index = ops.expand_dims(start + ops.arange(block.shape[0], dtype="int32"), 0)
    counted = ops.logical_and(index != ops.expand_dims(own, 1), index < count)
    angle = ops.where(counted, ops.arccos(cosine), 0.0)
    slope = -ops.rsqrt(ops.maximum(1.0 - ops.square(cosine), MIN_SQUARED_SINE))
    return ops.sum(angle, axis=1), ops.where(counted, slope, 0.0)


def _once_known(index: Any, total: Any, *products: Any) -> Any:
    """Returns `index`, but only after a step's results are known.

    TensorFlow runs up to ten independent steps of a loop in parallel, and each holds its own
    angles in memory. This makes the index of the next step depend on the results of this one.
    The condition is never true, because a sum of angles is not negative, but TensorFlow cannot
    know that.
    """
    bound = sum(ops.sum(ops.abs(product)) for product in products)
    return index + ops.cast(ops.sum(total) < -bound, "int32")


def angles_of_rows(rows: Any, centers: Any, labels: Any, block_size: int) -> Any:
    """Returns mean_i Σ_{j ≠ labels_i} arccos(rows_i · centers_j) of unit vectors, a scalar.

    One pass over blocks of centers gives the value and the gradients. At most
    (B, block_size) of the (B, N) angles exist at a time.
    """
    count = centers.shape[0]

    @ops.custom_gradient
    def blockwise(rows: Any, centers: Any) -> Any:
        blocks = _as_blocks(centers, block_size)

        def step(i: Any, totals: Any, by_rows: Any, by_blocks: Any) -> Any:
            block = ops.take(blocks, i, axis=0)
            sums, slope = _angles_to_block(rows, labels, block, i * block_size, count)
            by_row, by_column = ops.matmul(slope, block), ops.matmul(ops.transpose(slope), rows)
            return (
                _once_known(i + 1, sums, by_row, by_column),
                totals + sums,
                by_rows + by_row,
                _added(by_blocks, i, by_column),
            )

        sums = (ops.zeros_like(rows[:, 0]), ops.zeros_like(rows), ops.zeros_like(blocks))
        _, totals, by_rows, by_blocks = ops.while_loop(
            lambda i, *_: i < blocks.shape[0], step, (ops.zeros((), "int32"), *sums)
        )
        share = 1.0 / ops.cast(ops.shape(rows)[0], "float32")
        by_centers = ops.reshape(by_blocks, (-1, centers.shape[1]))[:count]

        return ops.mean(totals), lambda upstream: (
            upstream * share * by_rows,
            upstream * share * by_centers,
        )

    return blockwise(rows, centers)


def angles_of_all(centers: Any, block_size: int) -> Any:
    """Returns mean_i Σ_{j ≠ i} arccos(centers_i · centers_j) of unit vectors, a scalar.

    The loop visits every pair of blocks once. At most (block_size, block_size) angles exist at
    a time.
    """
    count = centers.shape[0]

    @ops.custom_gradient
    def blockwise(centers: Any) -> Any:
        blocks = _as_blocks(centers, block_size)
        last = blocks.shape[0] - 1

        def step(i: Any, j: Any, total: Any, by_blocks: Any) -> Any:
            rows, block = ops.take(blocks, i, axis=0), ops.take(blocks, j, axis=0)
            own = i * block_size + ops.arange(block_size, dtype="int32")
            sums, slope = _angles_to_block(rows, own, block, j * block_size, count)
            sums = ops.sum(ops.where(own < count, sums, 0.0)) / count
            # A block's angles with itself already contain each pair twice. Two different blocks
            # meet once, so their angles count twice.
            other = ops.cast(j > i, "float32")
            by_row = ops.matmul(slope, block)
            by_column = other * ops.matmul(ops.transpose(slope), rows)
            next_i = i + ops.cast(j == last, "int32")
            next_j = ops.where(j == last, next_i, j + 1)
            return (
                next_i,
                _once_known(next_j, sums, by_row, by_column),
                total + (1.0 + other) * sums,
                _added(_added(by_blocks, i, by_row), j, by_column),
            )

        first = ops.zeros((), "int32")
        _, _, total, by_blocks = ops.while_loop(
            lambda i, *_: i <= last,
            step,
            (first, first, ops.zeros((), "float32"), ops.zeros_like(blocks)),
        )
        by_centers = ops.reshape(by_blocks, (-1, centers.shape[1]))[:count]

        # Each angle occurs twice in the sum, as (i, j) and as (j, i).
        return total, lambda upstream: (2.0 / count) * upstream * by_centers

    return blockwise(centers)


def inter_loss(labels: Any, centers: Any, block_size: int) -> Any:
    """Returns −1 / (π(N − 1)) · mean_y Σ_{j ≠ y} arccos(W_y · W_j). See `InterLoss`."""
    centers = unit_rows(centers)
    count = centers.shape[0]
    block_size = min(block_size, count)
    scale = -1.0 / (math.pi * max(count - 1, 1))
    if labels is None:
        return scale * angles_of_all(centers, block_size)
    labels = ops.cast(labels, "int32")
    loss = scale * angles_of_rows(rows_of(labels, centers), centers, labels, block_size)
    return ops.where(ops.all(in_classes(labels, count)), loss, float("nan"))


@keras.saving.register_keras_serializable("gfkeras")
class InterLoss(EmbeddingLoss):
    """−weight / (π(N − 1)) · mean_i Σ_{j ≠ y_i} arccos(W_{y_i} · W_j): pushes centers apart.

    The Inter-Loss of arXiv 1801.07698. W are the normalised centers of the head, which get
    the gradient. The angles are computed in blocks, so no array of (N, N) or (B, N) angles
    exists. 100,000 identities need little more memory than their centers.

    Args:
        weight, name: see `EmbeddingLoss`. The paper's weight is 1.
        block_size: the number of centers per block. A larger block is faster, and needs
            memory for a few arrays of (B, block_size) floats, or of (block_size, block_size)
            without labels.

    Call arguments:
        labels: (B,) int in [0, N), the classes of the batch, as in the paper. With None, the
            mean is over all N classes, which takes N/B times as long.
        centers: (N, D) float of the head, not normalised.

    Returns:
        Scalar float32 in [−weight, 0], 0 for one class. The derivative of arccos is infinite
        if two centers coincide. It is bounded where sin²θ < 1e-7.

    Raises:
        ValueError: see `EmbeddingLoss`.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.get("InterLoss")
        >>> centers = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], "float32")
        >>> round(float(loss(np.array([0, 0]), centers)), 4)
        -0.75
        >>> round(float(loss(None, centers)), 4)
        -0.6667
    """

    inputs = ("labels", "centers")

    def __init__(self, weight: float = 1.0, block_size: int = 1024, name: str | None = None):
        super().__init__(weight=weight, name=name)
        self.block_size = positive_int("block_size", block_size)

    def batch_loss(self, labels: Any, centers: Any) -> Any:
        centers = check_embeddings(centers, "centers")
        if labels is not None:
            labels = check_labels(labels, centers.shape[0])
        return inter_loss(labels, centers, self.block_size)
