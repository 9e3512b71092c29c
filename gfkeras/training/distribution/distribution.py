"""Where a model trains: one device of one process, and the base of the others."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import keras

from gfkeras.data import FaceBatches
from gfkeras.data.dataset import tf_dataset
from gfkeras.training.distribution.epoch_rest import EpochRest


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
