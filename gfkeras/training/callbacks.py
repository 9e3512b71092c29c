"""What a training run keeps on disk: log, checkpoints, and the state to resume from."""

from __future__ import annotations

import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data.batches import FaceBatches
from gfkeras.files import replacing

STATE_FILE = "state.json"
VARIABLES_FILE = "variables.npz"


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


class Throughput(keras.callbacks.Callback):
    """Adds learning_rate, seconds and images_per_second of an epoch to its logs.

    Args:
        images_per_epoch: how many images an epoch trains on.
    """

    def __init__(self, images_per_epoch: int):
        super().__init__()
        self.images_per_epoch = images_per_epoch
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            seconds = time.perf_counter() - self._start
            logs["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
            logs["seconds"] = seconds
            logs["images_per_second"] = self.images_per_epoch / seconds


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of each epoch into a CSV file, one row an epoch.

    Unlike keras.callbacks.CSVLogger it takes columns that first come in a later epoch,
    and on a resumed run drops the rows that the run will do again.

    Args:
        path: the file.
        first_epoch: rows of this epoch and later ones in an existing file are dropped.
    """

    def __init__(self, path: Path, first_epoch: int = 0):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [
                    row for row in csv.DictReader(file) if int(row["epoch"]) <= first_epoch
                ]

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


class Checkpoints(keras.callbacks.Callback):
    """Saves the model inside the classifier as `best/` and `last/`.

    Best is the highest val_auc where identities are held out, else the lowest loss.
    Epochs with a loss that is not finite are not saved.

    Args:
        out: the folder of the run.
        monitor: "val_auc" or "loss".

    Attributes:
        best: the value of the best epoch, None before the first.
        best_epoch: that epoch, counted from 1.
    """

    def __init__(self, out: Path, monitor: str):
        super().__init__()
        self.out = out
        self.monitor = monitor
        self.best: float | None = None
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        if not math.isfinite(logs.get("loss", math.nan)):
            return
        self.model.model.save_to(self.out / "last")
        value = logs.get(self.monitor)
        if value is None:
            return
        sign = 1 if self.monitor.startswith("val_") else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_epoch = float(value), epoch + 1
            self.model.model.save_to(self.out / "best")


class Backup(keras.callbacks.Callback):
    """Keeps what it takes to go on after the last finished epoch, bit for bit.

    All variables of the classifier, the states of its random generators among them,
    and of the optimizer go into one folder that is replaced as a whole. Keras'
    BackupAndRestore leaves out the random states and writes in place.

    Args:
        folder: where.
        checkpoints: whose best value is kept too.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints):
        super().__init__()
        self.folder = folder
        self.checkpoints = checkpoints
        self.first_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", math.nan)):
            return
        with replacing(self.folder) as temporary:
            temporary.mkdir()
            variables: dict[str, Any] = {
                f"{i:05d}": np.asarray(v) for i, v in enumerate(_variables(self.model))
            }
            np.savez(temporary / VARIABLES_FILE, **variables)
            state = {
                "epoch": epoch + 1,
                "best": self.checkpoints.best,
                "best_epoch": self.checkpoints.best_epoch,
                "variables": len(variables),
            }
            (temporary / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, model: keras.Model) -> int:
        """Puts the kept state into a built and compiled classifier.

        Returns:
            How many epochs are done; 0 where nothing was kept.

        Raises:
            ValueError: if the files are damaged or belong to another architecture.
        """
        if not (self.folder / STATE_FILE).is_file():
            return 0
        variables = _variables(model)
        try:
            state = json.loads((self.folder / STATE_FILE).read_text(encoding="utf-8"))
            with np.load(self.folder / VARIABLES_FILE, allow_pickle=False) as stored:
                values = [stored[f"{i:05d}"] for i in range(state["variables"])]
            epoch, best, best_epoch = state["epoch"], state["best"], state["best_epoch"]
        # A zip cut short raises several kinds, zipfile.BadZipFile and EOFError among them.
        except Exception as error:
            raise ValueError(
                f"{self.folder} is damaged, cannot resume from it: {error!r}"
            ) from error
        shapes = [tuple(variable.shape) for variable in variables]
        if [value.shape for value in values] != shapes:
            raise ValueError(
                f"{self.folder} belongs to another model or another number of identities: it "
                f"holds {len(values)} variables, expected {len(shapes)} of the recipe's shapes"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.checkpoints.best, self.checkpoints.best_epoch = best, best_epoch
        return int(epoch)


def _variables(model: keras.Model) -> list[Any]:
    """Every variable that the next step depends on."""
    return [*model.variables, *model.optimizer.variables]
