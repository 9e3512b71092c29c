"""Training on one device of one process, and the base class of other distributions."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches
from gfkeras.data.tf_dataset import tf_dataset


class EpochRest(keras.utils.PyDataset):
    """The batches of one epoch, counted from 0, starting at the batch `first`."""

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
        num_replicas: number of copies of the model over all processes. Each copy gets an equal part
            of every batch.
        is_chief: whether this process writes the files of the run.
    """

    num_replicas: int = 1
    is_chief: bool = True

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which model and optimizer are built, restored and trained."""
        return contextlib.nullcontext()

    def dataset(self, batches: FaceBatches, epochs: int, first_step: int = 0) -> Any:
        """Returns the data for `fit` with `steps_per_epoch=len(batches)`.

        Args:
            batches: the global batches.
            epochs: first epoch that is not read, counted from 0.
            first_step: first step to read, counted over all epochs. If it is within an epoch, the
                data can end with that epoch.
        """
        if keras.backend.backend() == "tensorflow":
            return tf_dataset(batches, epochs, first_step=first_step)
        # `fit` cannot start in the middle of a PyDataset, so the rest of an epoch is its own one.
        epoch, first = divmod(first_step, len(batches))
        return EpochRest(batches, epoch, first) if first else batches

    def require_equal(self, name: str, value: int) -> None:
        """Raises ValueError if the processes have different values. `name` describes the value."""
        del name, value

    def lost_worker(self, error: Exception) -> str | None:
        """Returns the cause if the error shows that another process was lost, otherwise None."""
        del error
        return None

    def describe(self) -> str:
        """Returns a short description of the devices."""
        return "one device"
