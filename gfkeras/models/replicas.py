"""Data, batch normalisation, loss scaling and logs on several replicas."""

from collections.abc import Callable
from typing import Any

import keras

from gfkeras.layers.replica import global_sum, num_replicas, on_all_replicas, replica_mean


class FitStrategy:
    """A wrapper of a `tf.distribute` strategy for the `fit` of Keras.

    `fit` of Keras 3.15.1 reduces two things over the replicas. The first is a batch of raw
    images, with which it builds the model. This fails if the replicas have different numbers of
    images, or are on several workers. The second is the logs of a step on several workers. This
    fails because `fit` reduces them along an axis that scalars do not have. The wrapper returns
    the value of the first local replica for both. `FaceClassifier` makes the logs equal on all
    replicas. tests/models/test_multi_worker_keras.py fails as soon as Keras itself can do this.

    TensorFlow divides a batch unevenly: the first replicas get a full share, and the last ones
    may get no images. A convolution of oneDNN returns a wrong shape for an empty batch. In
    training, this wrapper divides each batch evenly instead. If a batch has fewer images than
    there are replicas, the first replica gets all of them, and every other replica gets them
    twice. `counted` leaves these copies out of the losses, and statistics and gradients remain
    those of the batch.

    Args:
        strategy: the wrapped strategy.
        divides: called for each data set that is distributed, with whether it needs to be
            divided evenly. Returns whether to divide it.
    """

    def __init__(self, strategy: Any, divides: Callable[[bool], bool]):
        self._strategy, self._divides = strategy, divides

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """Returns the first local replica's part of `value` for every reduction."""
        import tensorflow as tf

        del reduce_op, axis
        return tf.nest.map_structure(
            lambda part: self._strategy.experimental_local_results(part)[0], value
        )

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """Distributes a data set. Training batches on one worker are divided evenly."""
        import tensorflow as tf

        count = self._strategy.num_replicas_in_sync
        sizes = {spec.shape[0] for spec in tf.nest.flatten(dataset.element_spec)}
        # TensorFlow divides a batch evenly if its size is known and a multiple of the replicas.
        known = len(sizes) == 1 and None not in sizes and next(iter(sizes)) % count == 0
        one_worker = isinstance(self._strategy, tf.distribute.MirroredStrategy)
        if not self._divides(one_worker and not known):
            return self._strategy.experimental_distribute_dataset(dataset, options)
        parts = dataset.flat_map(lambda *batch: _parts(batch, count))
        return self._strategy.distribute_datasets_from_function(lambda _: parts, options)


def _parts(batch: Any, count: int) -> Any:
    """Returns a batch as a data set of `count` parts. None is empty, and the first is largest."""
    import tensorflow as tf

    # `flat_map` passes the tensors of a tuple one by one, and a single tensor alone.
    batch = batch if len(batch) > 1 else batch[0]
    size = tf.shape(tf.nest.flatten(batch)[0], out_type=tf.int64)[0]

    def part(index: Any) -> Any:
        # Rounding the bounds up makes the first part the largest.
        begin, end = (-((-each * size) // count) for each in (index, index + 1))
        return tf.nest.map_structure(lambda tensor: tensor[begin:end], batch)

    def copies(index: Any) -> Any:
        def copied(tensor: Any) -> Any:
            return tensor if index == 0 else tf.concat([tensor, tensor], axis=0)

        return tf.nest.map_structure(copied, batch)

    return tf.data.Dataset.range(count).map(
        lambda index: tf.cond(size < count, lambda: copies(index), lambda: part(index))
    )


def counted(size: Any) -> Any:
    """Returns how many of a replica's `size` images count in a batch that `FitStrategy` divided.

    A replica has more images than the first one only if it holds copies. These do not count.
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    is_first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), size.dtype)
    (first,) = global_sum([size * is_first])
    return tf.where(size > first, 0, size)


class ReplicaMean(keras.metrics.Mean):
    """A mean of parts from `share_of_mean`, weighted by the average batch size of the replicas.

    With this weight, the mean of an epoch is the mean over its samples, however each batch was
    divided.
    """

    # Whether `FitStrategy` divided the batch whose size is the weight.
    divided = False

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None and num_replicas() > 1:
            size = counted(sample_weight) if self.divided else sample_weight
            (total,) = global_sum([keras.ops.cast(size, "float32")])
            sample_weight = total / num_replicas()
        super().update_state(values, sample_weight)


def global_results(metrics: list[keras.metrics.Metric]) -> dict[str, Any]:
    """Returns the results of metrics within a step, over all replicas and equal on each."""
    means = [metric for metric in metrics if isinstance(metric, keras.metrics.Mean)]
    results: dict[str, Any] = {}
    # A per-replica variable cannot be stacked, but a tensor computed from it can.
    sums = [keras.ops.stack([metric.total + 0.0, metric.count + 0.0]) for metric in means]
    for metric, both in zip(means, global_sum(sums), strict=True):
        results[metric.name] = keras.ops.divide_no_nan(both[0], both[1])
    others: dict[str, Any] = {}
    for metric in metrics:
        if not isinstance(metric, keras.metrics.Mean):
            found = metric.result()
            others.update(found if isinstance(found, dict) else {metric.name: found})
    return results | replica_mean(others)


def check_batch(images: Any) -> None:
    """Stops a training step that leaves a replica without images, before anything changes.

    `fit` avoids this, but a data set that you distributed yourself can do it. The statistics of
    an empty batch are NaN, and a convolution of oneDNN returns a wrong shape for it.
    """
    if num_replicas() > 1:
        import tensorflow as tf

        tf.debugging.assert_positive(
            tf.shape(images)[0],
            "`x` must have at least one image for each replica in each batch. Received: a "
            "replica without images. Drop the last batch, or give `fit` data that you have not "
            "distributed",
        )


def without_empty(model: Any, images: Any) -> Any:
    """Returns the model's outputs at inference, also for a replica without images."""
    if num_replicas() == 1:
        return model(images, training=False)
    import tensorflow as tf

    count = tf.shape(images)[0]
    # One black image for an empty batch, and none otherwise.
    padding = tf.zeros([tf.cast(count == 0, count.dtype), *images.shape[1:]], images.dtype)
    outputs = model(tf.concat([images, padding], axis=0), training=False)
    return tf.nest.map_structure(lambda output: output[:count], outputs)


def synchronize_batch_norm(model: keras.Model, synchronized: bool = True) -> None:
    """Makes every batch normalisation in a model use the statistics of the global batch.

    If a replica has few images, its own statistics are noisy, and the trained model depends on
    the number of replicas. On JAX this function changes nothing, because a batch is one array
    on all devices, and its statistics are always global.

    Args:
        model: a model before training, such as a `GroupFace` or a `FaceClassifier`.
        synchronized: False for the statistics of each replica's own batch.

    Example:
        with tf.distribute.MirroredStrategy().scope():
            model = gfkeras.GroupFace(gfkeras.backbones.MobileFaceNet())
            synchronize_batch_norm(model)
    """
    if keras.backend.backend() != "tensorflow":
        return
    # `layers` does not contain layers inside other layers, such as the group decision network's.
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized


# The scale never grows with this many steps, the largest number that Keras' int32 counter holds.
NEVER = 2**31 - 1


@keras.saving.register_keras_serializable("gfkeras")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16, and skips steps whose gradients are not finite.

    Keras checks only the gradients of the first replica, before it sums them. An infinity on
    another replica would reach the weights of all. This class skips a step if the gradients of
    any replica are not finite.

    Args: see `keras.optimizers.LossScaleOptimizer`. `initial_scale=1.0` with
        `dynamic_growth_steps=NEVER` skips steps without scaling. Each skipped step halves the
        scale. Since the scale stays a power of two, it changes no bit of the other steps.

    Example:
        optimizer = LossScaling(keras.optimizers.SGD(0.1, momentum=0.9))
    """

    def check_finite(self, grads: Any) -> Any:
        return on_all_replicas(super().check_finite(grads))
