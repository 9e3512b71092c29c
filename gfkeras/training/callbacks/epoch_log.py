"""Callbacks of each epoch: the log, the speed, the number of the epoch."""

import csv
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches
from gfkeras.files import replacing


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of each epoch into a CSV file, one row an epoch.

    Unlike keras.callbacks.CSVLogger it takes columns that first come in a later epoch,
    and on a resumed run drops the rows that the run will do again: those of `first_epoch` and
    later ones.
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
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (
            replacing(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


class Throughput(keras.callbacks.Callback):
    """Adds learning_rate, seconds and images_per_second of an epoch to its logs.

    Seconds and images are those of this process: of an epoch that a resumed run finishes, the
    rest of it. `batch_size` is that of all replicas.
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


class DataEpoch(keras.callbacks.Callback):
    """Tells the batches which epoch it is, so that a resumed run sees what it would have.

    Keras itself also ends an "epoch" of the data set before the first one.
    """

    def __init__(self, batches: FaceBatches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches.epoch = epoch
