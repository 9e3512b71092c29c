"""What Keras 3.15 lacks for `fit` on several workers."""

from __future__ import annotations

from typing import Any


class LocalValues:
    """A `tf.distribute.MultiWorkerMirroredStrategy` that gives `fit` this worker's values.

    `fit` of Keras 3.15.1 reduces two things over the workers: a batch of raw images, to
    build the model with, and the logs of a step, along an axis that scalars do not have. Both
    fail. Here the batch is this worker's own, and so are the logs, which
    `FaceClassifier` makes equal on all workers before they leave the step.

    tests/models/test_multi_worker_keras.py fails once Keras itself can do it.

    Args:
        strategy: what everything else is asked of.
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
