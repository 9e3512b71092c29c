"""Batch normalisation over the batch of all replicas."""

from __future__ import annotations

import keras


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
