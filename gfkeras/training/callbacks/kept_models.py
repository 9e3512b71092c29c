"""The models that a run keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras

from gfkeras.training.step_checkpoints import StepCheckpoints


class KeptModels(keras.callbacks.Callback):
    """Saves the model inside the classifier as `best/` and `last/`.

    Best is the highest val_auc where identities are held out, else the lowest loss.
    Epochs with a loss that is not finite are not saved.

    Args:
        out: the folder of the run.
        monitor: "val_auc" or "loss".
        checkpoints: of the run; an error of writing says what they hold.

    Attributes:
        best: the value of the best epoch, None before the first.
        best_epoch: that epoch, counted from 1.
    """

    def __init__(self, out: Path, monitor: str, checkpoints: StepCheckpoints):
        super().__init__()
        self.checkpoints = checkpoints
        self.out = out
        self.monitor = monitor
        self.best: float | None = None
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        if not math.isfinite(logs.get("loss", math.nan)):
            return
        self._save(self.out / "last", epoch)
        value = logs.get(self.monitor)
        if value is None:
            return
        sign = 1 if self.monitor.startswith("val_") else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_epoch = float(value), epoch + 1
            self._save(self.out / "best", epoch)

    def _save(self, folder: Path, epoch: int) -> None:
        try:
            self.model.model.save_to(folder)
        except OSError as error:
            raise self.checkpoints.explained(error, f"the model of epoch {epoch + 1}") from error
