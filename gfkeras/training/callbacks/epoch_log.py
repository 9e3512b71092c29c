"""Callbacks for the log, the speed and the number of each epoch."""

import csv
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches
from gfkeras.files import replacing


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of each epoch into a CSV file, one row per epoch.

    Unlike keras.callbacks.CSVLogger, it accepts columns that first appear in a later epoch. In a
    resumed run, it removes the rows of epochs that the run repeats: those from `first_epoch` on,
    counted from 0.
    """

    def __init__(self, path: Path, first_epoch: int = 0):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                self.rows = [row for row in rows if int(row["epoch"]) <= first_epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {key: f"{float(value):.6g}" for key, value in (logs or {}).items()}
        self.rows.append(row)
        # The whole file is written again, because a new column changes all rows.
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (
            replacing(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


class Throughput(keras.callbacks.Callback):
    """Adds learning_rate, seconds and images_per_second to the logs of an epoch.

    Only the part of an epoch in this process counts. In a resumed run, that is the rest of the
    first epoch. `batch_size` is the batch size of all replicas together.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self.batch_size = batch_size
        self._start = 0.0
        self._steps = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # In a resumed run, batches of the first epoch are counted from 0 again.
        self._steps = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            seconds = time.perf_counter() - self._start
            logs["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
            logs["seconds"] = seconds
            logs["images_per_second"] = self._steps * self.batch_size / seconds


class DataEpoch(keras.callbacks.Callback):
    """Sets the number of the epoch in the batches. A resumed run then sees the same batches.

    The batches cannot count by themselves, because Keras also ends an "epoch" of the data set
    before the first one.
    """

    def __init__(self, batches: FaceBatches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches.epoch = epoch
