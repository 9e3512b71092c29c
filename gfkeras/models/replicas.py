"""Batch normalization, loss scaling and logs on several replicas."""

from collections.abc import Callable
from typing import Any

import keras

from gfkeras.layers.replica import global_sum, num_replicas, on_all_replicas, replica_mean


class FitStrategy:
    """A `tf.distribute` strategy as `FaceClassifier` shows it to Keras' `fit`.

    `fit` of Keras 3.15.1 reduces two things over the replicas: a batch of raw images, to
    build the model with, which fails where replicas hold unequally many or are on several
    workers, and the logs of a step on several workers, along an axis that scalars do not have.
    Here both are the first local replica's; `FaceClassifier` makes the logs equal on all.

    TensorFlow divides a batch so that the first replicas get a full share and the last ones
    may get nothing, of which a convolution of oneDNN makes something of the wrong shape. In
    training, each batch is divided evenly here instead. Of a batch with fewer images than
    replicas the first one gets all and each other one two copies, which `counted` leaves out of
    the losses: statistics and gradients are those of the batch.

    tests/models/test_multi_worker_keras.py fails once Keras itself can do it.

    Args:
        strategy: the strategy itself.
        divides: called for each data set that is distributed with whether it has to be divided
            here; returns whether it is to be.
    """

    def __init__(self, strategy: Any, divides: Callable[[bool], bool]):
        self._strategy, self._divides = strategy, divides

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """The first local replica's part of `value`, whatever the reduction."""
        import tensorflow as tf

        del reduce_op, axis
        return tf.nest.map_structure(
            lambda part: self._strategy.experimental_local_results(part)[0], value
        )

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """As the strategy's; of training data on one worker, each batch is divided evenly."""
        import tensorflow as tf

        count = self._strategy.num_replicas_in_sync
        sizes = {spec.shape[0] for spec in tf.nest.flatten(dataset.element_spec)}
        known = len(sizes) == 1 and None not in sizes and next(iter(sizes)) % count == 0
        one_worker = isinstance(self._strategy, tf.distribute.MirroredStrategy)
        if not self._divides(one_worker and not known):
            return self._strategy.experimental_distribute_dataset(dataset, options)
        parts = dataset.flat_map(lambda *batch: _parts(batch, count))
        return self._strategy.distribute_datasets_from_function(lambda _: parts, options)


def _parts(batch: Any, count: int) -> Any:
    """A batch as a data set of `count` parts, none of them empty, the first the largest."""
    import tensorflow as tf

    # A data set of one tensor, or of a tuple.
    batch = batch if len(batch) > 1 else batch[0]
    size = tf.shape(tf.nest.flatten(batch)[0], out_type=tf.int64)[0]

    def part(index: Any) -> Any:
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
    """How many of a replica's `size` images count in a batch that `FitStrategy` divided."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    is_first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), size.dtype)
    (first,) = global_sum([size * is_first])
    return tf.where(size > first, 0, size)


class ReplicaMean(keras.metrics.Mean):
    """A mean of parts such as `share_of_mean`'s, weighed by the replicas' average batch.

    So an epoch's mean is that over its samples, however each batch was divided.
    """

    # Whether the weight is the size of a batch that `FitStrategy` divided.
    divided = False

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None and num_replicas() > 1:
            size = counted(sample_weight) if self.divided else sample_weight
            (total,) = global_sum([keras.ops.cast(size, "float32")])
            sample_weight = total / num_replicas()
        super().update_state(values, sample_weight)


def global_results(metrics: list[keras.metrics.Metric]) -> dict[str, Any]:
    """The results of metrics within a step, over all replicas and the same on each."""
    means = [metric for metric in metrics if isinstance(metric, keras.metrics.Mean)]
    results: dict[str, Any] = {}
    # What is computed of a replica's own variable, unlike it, can be stacked.
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
    """Stops a training step that leaves a replica without images, before it changes anything.

    `fit` sees to it that none is; a data set that a user distributed may do so. Statistics of
    nothing are NaN, and oneDNN's convolution of nothing has the wrong shape.
    """
    if num_replicas() > 1:
        import tensorflow as tf

        tf.debugging.assert_positive(
            tf.shape(images)[0],
            "`x` must hold at least one image for each replica in each batch. Received: none "
            "for a replica. Drop the last batch, or give `fit` the data before it is distributed",
        )


def without_empty(model: Any, images: Any) -> Any:
    """The model's outputs at inference, where a replica may hold no image at all."""
    if num_replicas() == 1:
        return model(images, training=False)
    import tensorflow as tf

    count = tf.shape(images)[0]
    padding = tf.zeros([tf.cast(count == 0, count.dtype), *images.shape[1:]], images.dtype)
    outputs = model(tf.concat([images, padding], axis=0), training=False)
    return tf.nest.map_structure(lambda output: output[:count], outputs)


def synchronize_batch_norm(model: keras.Model, synchronized: bool = True) -> None:
    """Makes every batch normalisation in a model take its statistics over the global batch.

    With few images a replica their own statistics are noisy, and the model trained depends
    on the number of replicas. On JAX a batch is one array however many devices hold it, and
    its statistics are always global: nothing is changed there.

    Args:
        model: a model, such as a `GroupFace` or a `FaceClassifier`, before it is trained.
        synchronized: False for the statistics of each replica's own batch.

    Example:
        with tf.distribute.MirroredStrategy().scope():
            model = gfkeras.GroupFace(gfkeras.backbones.MobileFaceNet())
            synchronize_batch_norm(model)
    """
    if keras.backend.backend() != "tensorflow":
        return
    # `layers` leaves out those within other layers, such as the group decision network's.
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized


# Never doubled: Keras counts the steps in an int32.
NEVER = 2**31 - 1


@keras.saving.register_keras_serializable("gfkeras")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16, and skips steps whose gradients are not finite.

    Keras looks at the gradients of the first replica only, before they are summed: an
    infinity on another replica would reach the weights of all. Here a step is skipped
    where any replica's gradients are not finite.

    Args: as of `keras.optimizers.LossScaleOptimizer`. `initial_scale=1.0` with
        `dynamic_growth_steps=NEVER` skips steps without scaling: each skipped step halves
        the scale, a power of two, which changes no bit of the others.

    Example:
        optimizer = LossScaling(keras.optimizers.SGD(0.1, momentum=0.9))
    """

    def check_finite(self, grads: Any) -> Any:
        return on_all_replicas(super().check_finite(grads))
