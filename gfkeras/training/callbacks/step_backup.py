"""Callbacks that save: checkpoints to resume from, and the models a run keeps."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.layers.rows import holds_nothing
from gfkeras.training.callbacks.stopping import Patience
from gfkeras.training.step_checkpoints import Checkpoint, StepCheckpoints


class KeptModels(keras.callbacks.Callback):
    """Saves the model inside the classifier as `best/` and `last/`.

    Best is the highest `monitor` "val_auc" where identities are held out, else the lowest
    "loss". Epochs with a loss that is not finite are not saved. An error of writing says what
    `checkpoints` hold.

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


class StepBackup(keras.callbacks.Callback):
    """Keeps what it takes to go on after a step, bit for bit.

    That is every variable of the classifier, the states of its random generators and its
    losses among them, of the optimizer and of the metrics, where the data stands, and
    which epoch was best. Keras' BackupAndRestore leaves out random states and metrics,
    and writes in place. A step that left a weight that is not finite is not kept.

    It must stand after the callbacks whose state it keeps.

    Args:
        checkpoints: where to.
        every_steps: how often within an epoch; there is one after each epoch besides.
        steps_per_epoch: of a whole epoch.
        batch_size, images: of all replicas and of the data, which the place in it depends on.
        kept_models, patience: whose best value and count are kept too.
        writes: whether this process is the one that does.
    """

    def __init__(
        self,
        checkpoints: StepCheckpoints,
        *,
        every_steps: int,
        steps_per_epoch: int,
        batch_size: int,
        images: int,
        kept_models: KeptModels,
        patience: Patience | None = None,
        writes: bool = True,
    ):
        super().__init__()
        self.checkpoints = checkpoints
        self.every_steps = every_steps
        self.steps_per_epoch = steps_per_epoch
        self.data = {"batch_size": batch_size, "images": images}
        self.kept_models = kept_models
        self.patience = patience
        self.writes = writes
        self._first_step = 0
        self._step = 0
        self._metrics: list[np.ndarray] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._step = epoch * self.steps_per_epoch
        if self._metrics and self._step < self._first_step:
            # Keras has just set them to zero; the logs are of the whole epoch.
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._step = self._first_step
        self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        within = self._step % self.steps_per_epoch
        if within and self._step % self.every_steps == 0:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save()

    def _save(self) -> None:
        # All workers read: a metric's value is the sum of theirs.
        metrics = [np.asarray(variable) for variable in self.model.metrics_variables]
        if not self.writes:
            return
        variables = _variables(self.model)
        if not all(_finite(np.asarray(value)) for value in [*variables, *metrics]):
            return
        # The variables, not their values: of a million centers one array at a time is enough.
        arrays: dict[str, Any] = {f"{i:05d}": variable for i, variable in enumerate(variables)}
        arrays |= {f"metric{i:05d}": value for i, value in enumerate(metrics)}
        state = self.data | {
            "variables": len(variables),
            "metrics": len(metrics),
            "best": self.kept_models.best,
            "best_epoch": self.kept_models.best_epoch,
            "patience": None if self.patience is None else self.patience.state,
        }
        self.checkpoints.save(self._step, arrays, state)

    def restore(self, model: keras.Model, checkpoint: Checkpoint) -> int:
        """Puts a checkpoint into a built and compiled classifier; gives the steps done in all.

        Raises:
            ValueError: if it is of another architecture or, within an epoch, of other data.
        """
        state, arrays = checkpoint.state, checkpoint.arrays
        within = checkpoint.step % self.steps_per_epoch
        for name, now in self.data.items():
            if within and state[name] != now:
                raise ValueError(
                    f"{checkpoint.folder} lies within an epoch and can only be gone on from with "
                    f"the {name} that it was made with, {state[name]}. Received: {now}"
                )
        restore_variables(model, checkpoint)
        if within:
            self._metrics = [arrays[f"metric{i:05d}"] for i in range(state["metrics"])]
        self.kept_models.best = state["best"]
        self.kept_models.best_epoch = state["best_epoch"]
        if self.patience is not None and state["patience"] is not None:
            self.patience.restore(state["patience"])
        self._first_step = checkpoint.step
        return checkpoint.step


def restore_variables(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Puts the variables of a checkpoint into a built and compiled classifier.

    Raises:
        ValueError: if they are of another architecture.
    """
    variables = _variables(model)
    values = [checkpoint.arrays[f"{i:05d}"] for i in range(checkpoint.state["variables"])]
    shapes = [tuple(variable.shape) for variable in variables]
    if [value.shape for value in values] != shapes:
        raise ValueError(
            f"{checkpoint.folder} belongs to another model or another number of identities: "
            f"it holds {len(values)} variables, expected {len(shapes)} of the recipe's shapes"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _variables(model: keras.Model) -> list[Any]:
    """Every variable that the next step depends on, but for the metrics."""
    everything = (*model.variables, *model.optimizer.variables)
    return [variable for variable in everything if not holds_nothing(variable)]


def _finite(value: np.ndarray) -> bool:
    return not np.issubdtype(value.dtype, np.floating) or bool(np.isfinite(value).all())
