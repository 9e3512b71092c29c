"""Projection on drawn rows on TensorFlow, where no compiler keeps them out of memory."""

from __future__ import annotations

from typing import Any

from gfkeras.layers.rows import DrawnRows, chunks, gather_rows


def project_on_rows(vectors: Any, rows: DrawnRows, min_squared_norm: float) -> Any:
    """x · ŵ of each vector and each row, with the rows read part by part, forward and backward.

    Of all that is of the rows' size only their gradient is ever in memory, once.

    Args:
        vectors: (A, D) float32.
        rows: of shape (R, ..., D).
        min_squared_norm: a row's squared norm is taken as at least this.

    Returns:
        (A, R·...) float32.
    """
    import tensorflow as tf

    dimensions = rows.shape[-1]

    def part(start: int, stop: int, after: list[Any]) -> Any:
        # Without an order TensorFlow would gather all parts first.
        with tf.control_dependencies(after):
            index = rows.index[start:stop]
        return tf.reshape(gather_rows(rows.variables.table, index), (-1, dimensions))

    # Outside the function with the gradient, which may not see variables.
    columns: list[Any] = []
    inverses: list[Any] = []
    fixed = tf.stop_gradient(vectors)
    for start, stop in chunks(rows.shape[0]):
        directions = part(start, stop, columns[-1:])
        squared = tf.reduce_sum(tf.square(directions), axis=-1)
        inverses.append(tf.math.rsqrt(tf.maximum(squared, min_squared_norm)))
        columns.append(tf.matmul(fixed, directions, transpose_b=True) * inverses[-1])
    result, inverse = tf.concat(columns, axis=-1), tf.concat(inverses, axis=0)

    @tf.custom_gradient
    def with_gradient(vectors: Any, gradient_place: Any, index_place: Any) -> Any:
        del gradient_place, index_place

        def gradient(upstream: Any) -> Any:
            scaled = upstream * inverse
            by_rows = tf.matmul(scaled, vectors, transpose_a=True)
            # What is along w changes its length only, which a cosine does not see.
            along = tf.reduce_sum(scaled * result, axis=0) * inverse
            by_vectors = tf.zeros_like(vectors)
            each = by_rows.shape[0] // rows.shape[0]
            for start, stop in chunks(rows.shape[0]):
                first, end = start * each, stop * each
                directions = part(start, stop, [by_rows, by_vectors])
                by_vectors += tf.matmul(scaled[:, first:end], directions)
                # Of the operations that XLA compiles too, the one that writes into the memory
                # that `by_rows` has.
                by_rows = tf.raw_ops.TensorStridedSliceUpdate(
                    input=by_rows,
                    begin=[first, 0],
                    end=[end, dimensions],
                    strides=[1, 1],
                    value=by_rows[first:end] - directions * along[first:end, None],
                )
            return by_vectors, tf.reshape(by_rows, rows.shape), tf.cast(rows.index, tf.float32)

        return tf.identity(result), gradient

    return with_gradient(vectors, *rows.gradient_places())
