"""The batches of an epoch that an interrupted run has not seen."""

from __future__ import annotations

import keras
import numpy as np

from gfkeras.data import FaceBatches


class EpochRest(keras.utils.PyDataset):
    """The batches of one epoch from one of them on.

    Args:
        batches: of the whole epoch.
        epoch: counted from 0.
        first: index of the first batch to give.
    """

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
