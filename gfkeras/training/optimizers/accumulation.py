"""Gradient accumulation under `tf.distribute`, where Keras' own stops with an error."""

from __future__ import annotations

from typing import Any

import keras


def keras_cannot_accumulate() -> bool:
    """Whether a branch may not hold an update here: under MirroredStrategy and the like.

    Keras 3.15 chooses between adding up and updating within a replica, where TensorFlow
    allows no update inside of a branch.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return (
        tf.distribute.has_strategy()
        and not tf.__internal__.distribute.strategy_supports_no_merge_call()
    )


def accumulate_or_update(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """Adds the gradients up or, every `gradient_accumulation_steps` times, updates.

    Called on each replica; the branch is taken once for all of them. Each replica adds up its
    own gradients, and only the sums are exchanged.
    """
    import tensorflow as tf

    count = optimizer.gradient_accumulation_steps
    sums = [optimizer.accumulated_gradient(variable).value for variable in variables]

    def update(gradients: list[Any]) -> None:
        means = [(g + total) / count for g, total in zip(gradients, sums, strict=True)]
        optimizer.update_with(means, variables)

    def in_all_replicas(strategy: Any, gradients: list[Any]) -> None:
        def on_each(assign: Any, *arguments: Any) -> None:
            for total, *rest in zip(sums, *arguments, strict=True):
                strategy.extended.update(total, assign, args=tuple(rest), group=False)

        def add() -> None:
            on_each(lambda total, gradient: total.assign_add(gradient), gradients)

        def update_and_start_anew() -> None:
            strategy.extended.call_for_each_replica(update, args=(gradients,))
            on_each(lambda total: total.assign(tf.zeros_like(total)))

        steps = tf.cast(optimizer.steps_taken.value, tf.int64) + 1
        tf.cond(tf.equal(steps % count, 0), update_and_start_anew, add)

    tf.distribute.get_replica_context().merge_call(in_all_replicas, args=(gradients,))
