"""How fast an epoch was."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np


class Throughput(keras.callbacks.Callback):
    """Adds learning_rate, seconds and images_per_second of an epoch to its logs.

    Seconds and images are those of this process: of an epoch that a resumed run finishes, the
    rest of it.

    Args:
        batch_size: images a step, over all replicas.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self.batch_size = batch_size
        self._start = 0.0
        self._steps = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            seconds = time.perf_counter() - self._start
            logs["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
            logs["seconds"] = seconds
            logs["images_per_second"] = self._steps * self.batch_size / seconds
