"""Statistics over the global batch of all replicas."""

import sys
from typing import Any

import keras
from keras import ops

# The path for which `beside_centers` asks a `keras.distribution` for a layout.
BESIDE_CENTERS = "gfkeras/embedding_beside_centers"


def _replica_context() -> Any:
    """Returns the `tf.distribute` replica context with more than one replica, or None.

    JAX needs none. There a sharded array is one global array, and its mean is the global mean.
    """
    if keras.backend.backend() != "tensorflow" or "tensorflow" not in sys.modules:
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def num_replicas() -> int:
    """Returns the number of replicas that share a step, 1 outside `tf.distribute`."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def global_mean(values: Any, axis: int = 0) -> Any:
    """Returns the mean over the batch `axis` of all replicas, equal on each replica."""
    if num_replicas() == 1:
        return ops.mean(values, axis=axis)
    total, count = global_sum([ops.sum(values, axis=axis), _count(values, axis)])
    return total / ops.cast(count, total.dtype)


def share_of_mean(values: Any) -> Any:
    """Returns this replica's part of the mean of (B,) values over the global batch, a scalar.

    The part is R·Σ values / N for R replicas with N values in all. The mean of the parts equals
    the mean over the N values, however the batch is divided. A replica without values gives 0.
    With one replica, this is the mean.
    """
    replicas = num_replicas()
    if replicas == 1:
        return ops.mean(values)
    (count,) = global_sum([_count(values)])
    return ops.sum(values) * ops.cast(replicas / count, values.dtype)


def _count(values: Any, axis: int = 0) -> Any:
    # Counts of 16-bit values are float32, which represents them exactly.
    is_double = keras.backend.standardize_dtype(values.dtype) == "float64"
    return ops.cast(ops.shape(values)[axis], "float64" if is_double else "float32")


def global_sum(tensors: list[Any]) -> list[Any]:
    """Returns each tensor summed over all replicas. Shapes must be equal on all replicas."""
    context = _replica_context()
    if context is None:
        return tensors
    import tensorflow as tf

    # A per-replica variable has no device to reduce to, but a computed tensor has.
    computed = [tf.identity(tensor) for tensor in tensors]
    return context.all_reduce("SUM", computed)


def global_batch(values: Any) -> Any:
    """Joins the batches of all replicas along the first axis, in the replicas' order.

    The gradient of a row goes back to the replica that it came from, summed over all replicas.
    If every replica computes the same loss from the global batch, dividing by
    `num_replicas()` gives the gradient of that loss.

    Args:
        values: (B, ...) tensor. If B is unknown until the step runs, it can differ between
            replicas, and be 0.

    Returns:
        (N, ...), where N is the sum of the replicas' B. Outside `tf.distribute`, `values`.
    """
    context = _replica_context()
    if context is None:
        return values
    import tensorflow as tf

    # On several workers, TensorFlow gathers to the device of the tensor. An argument of the step
    # has no device, but a computed tensor is on the replica's device.
    values = tf.identity(values)
    gathered = context.all_gather(values, axis=0)
    # Gathering loses even the rank. A batch size that is fixed is equal on all replicas.
    batch = values.shape[0]
    total = None if batch is None else batch * context.num_replicas_in_sync
    return tf.ensure_shape(gathered, [total, *values.shape[1:]])


def on_all_replicas(flag: Any) -> Any:
    """Returns whether a scalar boolean is true on every replica."""
    context = _replica_context()
    if context is None:
        return flag
    return context.all_reduce("SUM", 1 - ops.cast(flag, "int32")) == 0


def replica_mean(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the mean of each scalar over the replicas, in one exchange."""
    context = _replica_context()
    if context is None or not values:
        return values
    stacked = ops.stack([ops.cast(value, "float32") for value in values.values()])
    means = ops.unstack(context.all_reduce("MEAN", stacked), len(values))
    return dict(zip(values, means, strict=True))


def beside_centers(embedding: Any) -> Any:
    """Returns the embedding (B, D), distributed for its products with sharded class centers.

    If a `keras.distribution` shards the centers over devices, XLA might otherwise gather all
    centers on every device. The distribution chooses the layout in
    `get_tensor_layout(BESIDE_CENTERS)`. Without a layout, the embedding does not change.
    """
    distribution = keras.distribution.distribution()
    layout = None if distribution is None else distribution.get_tensor_layout(BESIDE_CENTERS)
    if layout is None:
        return embedding
    return keras.distribution.distribute_tensor(embedding, layout)
