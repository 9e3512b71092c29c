"""Callbacks that end a run early: patience, and a loss that is not finite."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from gfkeras.training.step_checkpoints import StepCheckpoints


class Patience(keras.callbacks.EarlyStopping):
    """Early stopping that continues its count in a resumed run.

    Args:
        monitor: "val_auc", which should rise, or "loss", which should fall.
        patience: number of verifications ("val_auc") or epochs ("loss") without a better value
            after which the run ends.

    Attributes:
        stopped: whether this callback has ended the run.
    """

    def __init__(self, monitor: str, patience: int):
        super().__init__(monitor, patience=patience, mode="min" if monitor == "loss" else "max")
        self.stopped = False
        self._kept: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        best = None if self.best is None else float(self.best)
        return {"wait": self.wait, "best": best, "stopped": self.stopped}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from the `state` of an earlier run."""
        self._kept = state
        self.stopped = state["stopped"]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Keras resets the count here. In a run that is resumed within an epoch, `fit` is called
        # twice, so the count must be restored each time.
        super().on_train_begin(logs)
        if self._kept is not None:
            self.wait, self.best = self._kept["wait"], self._kept["best"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.stopped = bool(self.model.stop_training)
        self._kept = self.state


# Each skipped step halves the loss scale. 2⁻¹⁰⁰ is still far above float32's smallest number.
MOST_SKIPPED = 100


class FiniteLoss(keras.callbacks.Callback):
    """Ends the run at the first step with a loss that is not finite.

    `fit` then raises a ValueError that names the step and the last checkpoint. The model's
    optimizer must be one of `gfkeras.training.optimizers`.

    Args:
        checkpoints: the checkpoints of the run.
        learning_rate: function from the number of steps done to the learning rate of the next step.

    Attributes:
        skipped: number of skipped steps, if the recipe skips such steps.
    """

    def __init__(self, checkpoints: StepCheckpoints, learning_rate: Callable[[int], Any]):
        super().__init__()
        self.checkpoints = checkpoints
        self.learning_rate = learning_rate
        self.skipped = 0
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # The loss is a mean over the epoch. It stays NaN after the first NaN.
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(np.asarray(loss))):
            self._stop("The loss stopped being finite")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not getattr(self.model, "skip_nonfinite", False):
            return
        optimizer = self.model.optimizer
        # With an initial scale of 1, only skipped steps change the scale, so it counts them.
        if optimizer.initial_scale == 1.0:
            self.skipped = -round(math.log2(float(np.asarray(optimizer.dynamic_scale))))
            if self.skipped > MOST_SKIPPED:
                self._stop(f"{self.skipped} steps were skipped because they were not finite")

    def _stop(self, what: str) -> None:
        # Keras on JAX writes the state back into the variables only after an epoch.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        step = int(np.asarray(optimizer.steps_taken))
        # The failed step is already counted.
        rate = self.learning_rate(max(step - 1, 0))
        newest = self.checkpoints.newest()
        kept = f"the last good checkpoint is {newest}" if newest else "there is no checkpoint yet"
        raise ValueError(
            f"{what} in epoch {self._epoch + 1}, step {step}, at learning rate "
            f"{float(np.asarray(rate)):.3g}; {kept}. Try a lower optimizer.learning_rate, a longer "
            'schedule.warmup_epochs, an optimizer.clipnorm, or training.nonfinite = "skip".'
        )
