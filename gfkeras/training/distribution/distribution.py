"""Training on one device."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import keras

from gfkeras.data import FaceBatches, RecordSet
from gfkeras.data.dataset import tf_dataset


class Distribution:
    """One device, one process; base of what spreads a training run over more.

    Attributes:
        num_replicas: replicas of the model over all processes, which share each batch.
        is_chief: whether this process writes files.
    """

    num_replicas: int = 1
    is_chief: bool = True

    def scope(self) -> AbstractContextManager[Any]:
        """Model and optimizer are made, and `fit` runs, inside it."""
        return contextlib.nullcontext()

    def dataset(self, batches: FaceBatches, epochs: int, first_step: int) -> Any:
        """What `fit` reads from the global step `first_step` on, until `epochs` are done."""
        # Decoding runs ahead in tf.data where TensorFlow is the backend.
        if isinstance(batches.images, RecordSet) and keras.backend.backend() == "tensorflow":
            return tf_dataset(batches, epochs, first_step=first_step)
        return batches

    def describe(self) -> str:
        """Such as "4 CPU devices", for logs and summaries."""
        return "1 device"
