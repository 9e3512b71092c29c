"""Batches as a `tf.data.Dataset`, read ahead on all cores, which can be resumed at any step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.data.augmentation import Augmentation
from gfkeras.data.batches import FaceBatches
from gfkeras.errors import positive_int, wrong, wrong_value

if TYPE_CHECKING:
    import tensorflow as tf


def tf_dataset(
    batches: FaceBatches,
    epochs: int = 1,
    *,
    first_step: int = 0,
    parallel: int | None = None,
    prefetch: int = 4,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Returns the batches of several epochs as one data set, without a pause between epochs.

    The batches, their order and their augmentation are those of `batches`, for any degree of
    parallelism. A run that stopped after n steps, even in the middle of an epoch, continues with
    `first_step=n` and sees the same batches as a run that did not stop.

    Args:
        batches: the batches to read, from epoch 0 on. Their attribute `epoch` is ignored.
        epochs: number of epochs.
        first_step: number of batches to skip, counted over all epochs. They are not read.
        parallel: number of batches that are made in parallel. The default is chosen by tf.data.
            Most of the time is decoding, which releases Python's global lock.
        prefetch: number of batches to keep ready.
        input_context: the context from `strategy.distribute_datasets_from_function`. Each worker
            then reads its part of every batch, cut into the batches of its replicas.

    Returns:
        A data set of (images (B, H, W, 3) uint8, labels (B,) int32). Call `fit` with
        `steps_per_epoch=len(batches)`.

    Raises:
        ValueError: for an argument out of range, or replicas that do not divide the batch.

    Example:
        batches = FaceBatches(RecordSet("records"), batch_size=128, drop_remainder=True)
        model.fit(tf_dataset(batches, epochs=20), epochs=20, steps_per_epoch=len(batches))
    """
    import tensorflow as tf

    steps = positive_int("epochs", epochs) * len(batches)
    if isinstance(first_step, bool) or not 0 <= first_step <= steps:
        expected = f"be from 0 to {steps}, the steps of all epochs"
        raise wrong_value("first_step", expected, first_step)
    replica_batch = None
    if input_context is not None:
        batches, replica_batch = _for_worker(batches, input_context)

    # Without these, the last batch of an epoch can be smaller, and the batch size is not static.
    whole = batches.drop_remainder or batches.sampler is not None
    rows = batches.batch_size // batches.shard[1] if whole else None
    shape, augmentation = batches.image_shape, batches.augmentation

    def read(step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        epoch, index = divmod(int(step), len(batches))
        images, labels, key = batches.moved_batch(epoch, index)
        return images, labels.astype(np.int32, copy=False), key

    def load(step: Any) -> tuple[Any, Any]:
        images, labels, key = tf.numpy_function(
            read, [step], (tf.uint8, tf.int32, tf.int64), stateful=False
        )
        # `numpy_function` returns tensors without a static shape.
        images = tf.ensure_shape(images, (rows, *shape))
        if isinstance(augmentation, Augmentation):
            images = augmentation.apply_layers(images, tf.ensure_shape(key, (2,)))
        return images, tf.ensure_shape(labels, (rows,))

    # `deterministic` keeps the order of the steps, although several are made in parallel.
    dataset = tf.data.Dataset.range(first_step, steps).map(
        load, num_parallel_calls=parallel or tf.data.AUTOTUNE, deterministic=True
    )
    if replica_batch is not None:
        dataset = dataset.rebatch(replica_batch)
    options = tf.data.Options()
    # Every worker already reads only its own part.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(prefetch)


def _for_worker(batches: FaceBatches, context: Any) -> tuple[FaceBatches, int]:
    """Returns the worker's part of the batches, and the batch size of each of its replicas."""
    if batches.shard != (0, 1):
        expected = "be whole, because `input_context` says which part to read"
        raise wrong("batches", expected, f"batches with shard={batches.shard}")
    replicas = context.num_replicas_in_sync
    if batches.batch_size % replicas or (
        len(batches.labels) % batches.batch_size and not (batches.drop_remainder or batches.sampler)
    ):
        raise ValueError(
            f"`batches` must be divisible into equal parts for {replicas} replicas: expected "
            "drop_remainder=True and a multiple of that number as batch_size. "
            f"Received: batch_size={batches.batch_size}"
        )
    shard = (context.input_pipeline_id, context.num_input_pipelines)
    return batches.sharded(*shard), batches.batch_size // replicas
