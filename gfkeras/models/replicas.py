"""Batch normalization, loss scaling and logs on several replicas."""

from typing import Any

import keras

from gfkeras.layers.replica import on_all_replicas


class LocalValues:
    """A `tf.distribute.MultiWorkerMirroredStrategy` that gives `fit` this worker's values.

    `fit` of Keras 3.15.1 reduces two things over the workers: a batch of raw images, to
    build the model with, and the logs of a step, along an axis that scalars do not have. Both
    fail. Here the batch is this worker's own, and so are the logs, which
    `FaceClassifier` makes equal on all workers before they leave the step.

    tests/models/test_multi_worker_keras.py fails once Keras itself can do it.
    """

    def __init__(self, strategy: Any):
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """The first local replica's part of `value`, whatever the reduction."""
        import tensorflow as tf

        del reduce_op, axis
        return tf.nest.map_structure(
            lambda part: self._strategy.experimental_local_results(part)[0], value
        )


def for_fit(strategy: Any) -> Any:
    """The strategy as `fit` is to see it: itself, but for that of a cluster of workers."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return strategy
    resolver = strategy.cluster_resolver
    return LocalValues(strategy) if resolver and resolver.cluster_spec().jobs else strategy


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
