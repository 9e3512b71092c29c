"""Which epoch the batches are of."""

from __future__ import annotations

from typing import Any

import keras

from gfkeras.data import FaceBatches


class DataEpoch(keras.callbacks.Callback):
    """Tells the batches which epoch it is, so that a resumed run sees what it would have.

    Keras itself also ends an "epoch" of the data set before the first one.

    Args:
        batches: a `FaceBatches`.
    """

    def __init__(self, batches: FaceBatches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches.epoch = epoch
