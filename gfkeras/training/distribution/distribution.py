"""Training on one device of one process, the base of the other distributions."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches
from gfkeras.data.tf_dataset import tf_dataset


class EpochRest(keras.utils.PyDataset):
    """The batches of one epoch, counted from 0, from the batch `first` on."""

    def __init__(self, batches: FaceBatches, epoch: int, first: int):
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches = batches
        self.epoch = epoch
        self.first = first

    def __len__(self) -> int:
        return len(self.batches) - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batches.batch(self.epoch, self.first + index)


class Distribution:
    """One device of one process.

    Attributes:
        num_replicas: copies of the model over all processes; each takes an equal part of
            every batch.
        is_chief: whether this process writes the files of the run.
    """

    num_replicas: int = 1
    is_chief: bool = True

    def scope(self) -> AbstractContextManager[Any]:
        """Model and optimizer are made, trained and restored within it."""
        return contextlib.nullcontext()

    def dataset(self, batches: FaceBatches, epochs: int, first_step: int = 0) -> Any:
        """What `fit` reads, with `steps_per_epoch=len(batches)`.

        Args:
            batches: of the global batch.
            epochs: up to which epoch, counted from 0 and not included.
            first_step: of all epochs' steps; the earlier ones are not read. Where it is not the
                first of an epoch, only the rest of that epoch need be given.
        """
        if keras.backend.backend() == "tensorflow":
            return tf_dataset(batches, epochs, first_step=first_step)
        epoch, first = divmod(first_step, len(batches))
        return EpochRest(batches, epoch, first) if first else batches

    def require_equal(self, name: str, value: int) -> None:
        """Raises ValueError where another process has another value of what `name` says."""
        del name, value

    def lost_worker(self, error: Exception) -> str | None:
        """What went wrong in another process, if that is what the error says; else None."""
        del error
        return None

    def describe(self) -> str:
        """The devices in a few words."""
        return "one device"
