"""Statistics over the global batch, however many replicas share it."""

import sys
from typing import Any

import keras
from keras import ops

# What a `keras.distribution` is asked by, besides Keras' own paths of layers' outputs.
BESIDE_CENTERS = "gfkeras/embedding_beside_centers"


def _replica_context() -> Any:
    """The `tf.distribute` replica context with more than one replica, or None.

    With JAX there is nothing to ask: a sharded array is one global array, and
    its mean is the global mean already.
    """
    if keras.backend.backend() != "tensorflow" or "tensorflow" not in sys.modules:
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def num_replicas() -> int:
    """The number of replicas that step together; 1 outside `tf.distribute`."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def global_mean(values: Any, axis: int = 0) -> Any:
    """Mean over `axis`, the batch's, of all replicas: a tensor without it, the same on all."""
    if num_replicas() == 1:
        return ops.mean(values, axis=axis)
    total, count = global_sum([ops.sum(values, axis=axis), _count(values, axis)])
    return total / ops.cast(count, total.dtype)


def share_of_mean(values: Any) -> Any:
    """This replica's part of the mean of (B,) values over the global batch, a scalar.

    R·Σ values / N for R replicas with N values in all. The mean of the replicas' parts is the
    mean over the N values, however they are divided; a replica without values gives 0.
    On one replica this is the mean.
    """
    replicas = num_replicas()
    if replicas == 1:
        return ops.mean(values)
    (count,) = global_sum([_count(values)])
    return ops.sum(values) * ops.cast(replicas / count, values.dtype)


def _count(values: Any, axis: int = 0) -> Any:
    # Of 16-bit values too in float32, which holds every count exactly.
    is_double = keras.backend.standardize_dtype(values.dtype) == "float64"
    return ops.cast(ops.shape(values)[axis], "float64" if is_double else "float32")


def global_sum(tensors: list[Any]) -> list[Any]:
    """Each tensor, of the same shape on each replica, summed over all replicas."""
    context = _replica_context()
    if context is None:
        return tensors
    import tensorflow as tf

    # A variable of each replica's own has no device to reduce to; what is computed has.
    computed = [tf.identity(tensor) for tensor in tensors]
    return context.all_reduce("SUM", computed)


def global_batch(values: Any) -> Any:
    """The batches of all replicas, joined along the first axis in the replicas' order.

    The gradient goes back to the replica that each row came from, summed over all
    replicas' use of it: where every replica computes the same loss from the global
    batch and the gradients are summed, dividing by `num_replicas()` gives that loss's
    gradient.

    Args:
        values: (B, ...) tensor. A B that only the running step knows may differ between
            replicas, and be 0.

    Returns:
        (N, ...), N the sum of the replicas' B; `values` itself outside `tf.distribute`.
    """
    context = _replica_context()
    if context is None:
        return values
    import tensorflow as tf

    # On several workers TensorFlow gathers to where a tensor is, and an argument of the step is
    # nowhere; what is computed is on the replica's device.
    values = tf.identity(values)
    gathered = context.all_gather(values, axis=0)
    # Gathering loses even the rank. A batch of a fixed size is that of every replica.
    batch = values.shape[0]
    total = None if batch is None else batch * context.num_replicas_in_sync
    return tf.ensure_shape(gathered, [total, *values.shape[1:]])


def on_all_replicas(flag: Any) -> Any:
    """Whether a scalar boolean is true on every replica, the same on all of them."""
    context = _replica_context()
    if context is None:
        return flag
    return context.all_reduce("SUM", 1 - ops.cast(flag, "int32")) == 0


def replica_mean(values: dict[str, Any]) -> dict[str, Any]:
    """The mean over the replicas of each scalar, the same on all of them, in one exchange."""
    context = _replica_context()
    if context is None or not values:
        return values
    stacked = ops.stack([ops.cast(value, "float32") for value in values.values()])
    means = ops.unstack(context.all_reduce("MEAN", stacked), len(values))
    return dict(zip(values, means, strict=True))


def beside_centers(embedding: Any) -> Any:
    """The same embedding (B, D), laid out on the devices for its products with class centers.

    Where a `keras.distribution` cuts the centers over devices, XLA may else gather all
    centers on every device to meet each device's few embeddings. Which layout is for the
    distribution to say, in `get_tensor_layout(BESIDE_CENTERS)`; without one nothing is done.
    """
    distribution = keras.distribution.distribution()
    layout = None if distribution is None else distribution.get_tensor_layout(BESIDE_CENTERS)
    if layout is None:
        return embedding
    return keras.distribution.distribute_tensor(embedding, layout)
