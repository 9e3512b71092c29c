"""Ending a run that no longer gets better."""

from __future__ import annotations

from typing import Any

import keras


class Patience(keras.callbacks.EarlyStopping):
    """Early stopping that goes on counting in a resumed run.

    Args:
        monitor: "val_auc", which is to rise, or "loss".
        patience: verifications, or epochs for the loss, without a better value until the end.

    Attributes:
        stopped: whether it has ended the run.
    """

    def __init__(self, monitor: str, patience: int):
        super().__init__(monitor, patience=patience, mode="min" if monitor == "loss" else "max")
        self.stopped = False
        self._kept: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        best = None if self.best is None else float(self.best)
        return {"wait": self.wait, "best": best, "stopped": self.stopped}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from the `state` of an earlier run."""
        self._kept = state
        self.stopped = state["stopped"]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Keras starts afresh here, and `fit` begins twice where a run is resumed within an epoch.
        super().on_train_begin(logs)
        if self._kept is not None:
            self.wait, self.best = self._kept["wait"], self._kept["best"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.stopped = bool(self.model.stop_training)
        self._kept = self.state
