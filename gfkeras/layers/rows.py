"""Reading, training and writing of a few rows of a large variable."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

# TensorFlow processes rows in at most PARTS parts of at least MIN_PART rows, which stay small
# beside the gradient of all rows. JAX always uses XLA, which arranges this itself.
PARTS, MIN_PART = 64, 1024


@dataclass(frozen=True)
class SampledRows:
    """The three variables with which a step trains only some rows of a table.

    A gradient by the table would be as large as the table. Instead, the layer passes the
    gradient of its rows to `gradient`, and their index to `index`. Both are trainable variables,
    so Keras' own steps carry them to the optimizer, through loss scaling, clipping and replicas.
    An optimizer with `updates_rows` (`gfkeras.training.optimizers`) finds this object in the
    attribute `sampled_rows` of each of the three variables, and updates `table`.

    Attributes:
        table: (N, ...) float32, trainable. It has no gradient, or one that is zero.
        gradient: (R, ...) float32. Its own value is unused.
        index: (R,) float32, exact up to 2^24, with `overwrite_with_gradient`: Keras writes the
            rows drawn last into it before the optimizer's update.
    """

    table: Any
    gradient: Any
    index: Any


@dataclass(frozen=True)
class DrawnRows:
    """The rows that a step drew from a table, without an (R, ..., D) array of them.

    `variables` contain the table and receive the gradient of its rows. `index` is (R,) int32,
    sorted.
    """

    variables: SampledRows
    index: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variables.gradient.shape)

    def gradient_places(self) -> tuple[Any, Any]:
        """Returns the tensors whose gradients reach the optimizer: of the rows, and the index."""
        rows = self.variables
        return ops.convert_to_tensor(rows.gradient), ops.convert_to_tensor(rows.index)

    def as_array(self) -> Any:
        """Returns the rows, (R, ..., D) float32. Their gradient goes to the `gradient_places`."""
        rows = gather_rows(self.variables.table, self.index)

        @ops.custom_gradient
        def with_gradient_elsewhere(gradient_place: Any, index_place: Any) -> Any:
            del gradient_place, index_place
            return rows, lambda upstream: (upstream, ops.cast(self.index, "float32"))

        return with_gradient_elsewhere(*self.gradient_places())


def is_table(variable: Any) -> bool:
    """Whether a variable is the `table` of some `SampledRows`."""
    return variable is getattr(getattr(variable, "sampled_rows", None), "table", None)


def is_gradient(variable: Any) -> bool:
    """Whether a variable is the `gradient` of some `SampledRows`."""
    return variable is getattr(getattr(variable, "sampled_rows", None), "gradient", None)


def holds_nothing(variable: Any) -> bool:
    """Whether the next step ignores a variable's value: `gradient` or `index`."""
    return getattr(variable, "sampled_rows", None) is not None and not is_table(variable)


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """Yields start and stop of each part of `count` rows that is processed at once."""
    size = count
    if keras.backend.backend() == "tensorflow":
        size = max(MIN_PART, -(-count // PARTS))
    for start in range(0, count, size):
        yield start, min(start + size, count)


def gather_rows(variable: Any, index: Any) -> Any:
    """Returns rows (R, ...) of a `keras.Variable` (N, ...) by index (R,), without a gradient."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Gather from the variable itself. After `set_rows`, reading it first copies all of it.
        return tf.stop_gradient(tf.gather(variable.value, index))
    return ops.take(ops.stop_gradient(variable.value), index, axis=0)


def set_rows(variable: Any, index: Any, values: Any) -> None:
    """Overwrites rows of a `keras.Variable` in place. `index` (R,) must not repeat a row."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        variable.value.scatter_update(tf.IndexedSlices(values, index))
    else:
        variable.assign(ops.scatter_update(variable.value, ops.expand_dims(index, -1), values))


def project_on_rows(vectors: Any, rows: DrawnRows, min_squared_norm: float) -> Any:
    """Returns x · ŵ of each vector (A, D) and each row (R, ..., D), (A, R·...) float32.

    The rows are read part by part, forward and backward. Only one array of their whole size is
    ever in memory: their gradient. A row's squared norm counts as at least `min_squared_norm`.
    """
    import tensorflow as tf

    dimensions = rows.shape[-1]

    def part(start: int, stop: int, after: list[Any]) -> Any:
        # Without this order, TensorFlow would gather all parts first.
        with tf.control_dependencies(after):
            index = rows.index[start:stop]
        return tf.reshape(gather_rows(rows.variables.table, index), (-1, dimensions))

    # Outside the function with the custom gradient, which must not use variables.
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
            # A change along w changes only its length, which has no effect on a cosine.
            along = tf.reduce_sum(scaled * result, axis=0) * inverse
            by_vectors = tf.zeros_like(vectors)
            each = by_rows.shape[0] // rows.shape[0]
            for start, stop in chunks(rows.shape[0]):
                first, end = start * each, stop * each
                directions = part(start, stop, [by_rows, by_vectors])
                by_vectors += tf.matmul(scaled[:, first:end], directions)
                # This operation writes into the memory of `by_rows`, and XLA can compile it.
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
