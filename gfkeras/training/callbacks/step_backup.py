"""Callbacks that save checkpoints for resuming, and the best and the last model."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.layers.replica import global_sum
from gfkeras.layers.rows import holds_nothing
from gfkeras.training.callbacks.stopping import Patience
from gfkeras.training.step_checkpoints import Checkpoint, StepCheckpoints


class KeptModels(keras.callbacks.Callback):
    """Saves the model inside the classifier as `best/` and `last/`.

    With `monitor` "val_auc", the best epoch has the highest value. With "loss", it has the lowest
    value. An epoch with a loss that is not finite is not saved. If the model cannot be written, the
    error names the newest of `checkpoints`.

    Attributes:
        best: value of the best epoch, or None before the first epoch.
        best_epoch: number of the best epoch, counted from 1.
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
        # A verification result should rise, but the loss should fall.
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
    """Saves everything that a run needs to continue after a step, bit for bit.

    A checkpoint has all variables of the classifier (including its losses and the states of its
    random generators), of the optimizer and of the metrics. It also has the position in the data
    and the best epoch. keras.callbacks.BackupAndRestore leaves out random states and metrics, and
    it overwrites its file in place. If a weight is not finite after a step, the step is not saved.

    The callback must come after the callbacks whose state it saves.

    Args:
        checkpoints: the checkpoints of the run.
        every_steps: number of steps between checkpoints within an epoch. There is also a checkpoint
            after each epoch.
        steps_per_epoch: number of steps in a whole epoch.
        batch_size, images: global batch size and number of images. A checkpoint within an epoch is
            valid only for these, because its position in the data depends on them.
        kept_models, patience: callbacks whose state is saved too.
        writes: whether this process writes the checkpoints.
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
            # Keras has just set the metrics to zero, but the logs must cover the whole epoch.
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._step = self._first_step
        self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        within = self._step % self.steps_per_epoch
        if within and self._step % self.every_steps == 0:
            # Keras on JAX keeps the state outside the model during an epoch.
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save()

    def _save(self) -> None:
        # All workers must read a metric, because its value is the sum over the workers.
        metrics = [np.asarray(variable) for variable in self.model.metrics_variables]
        totals = _totals(self.model)
        if not self.writes:
            return
        variables = [totals.get(id(each), each) for each in _variables(self.model)]
        # A checkpoint that is not finite is useless and would push out a good one.
        if not all(_finite(np.asarray(value)) for value in [*variables, *metrics]):
            return
        # Passing variables instead of arrays needs less memory: each one is converted when it is
        # written, and the centers of a million identities are large.
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
        """Restores a checkpoint into a built and compiled classifier.

        Returns the number of steps done over all epochs.

        Raises:
            ValueError: if the checkpoint has another architecture, or if it is within an epoch and
                the batch size or the number of images differs.
        """
        state, arrays = checkpoint.state, checkpoint.arrays
        within = checkpoint.step % self.steps_per_epoch
        for name, now in self.data.items():
            if within and state[name] != now:
                raise ValueError(
                    f"{checkpoint.folder} is in the middle of an epoch and can be resumed only "
                    f"with the same {name}, {state[name]}. Received: {now}"
                )
        restore_variables(model, checkpoint)
        # A new epoch resets the metrics, so they matter only within an epoch.
        if within:
            self._metrics = [arrays[f"metric{i:05d}"] for i in range(state["metrics"])]
        self.kept_models.best = state["best"]
        self.kept_models.best_epoch = state["best_epoch"]
        if self.patience is not None and state["patience"] is not None:
            self.patience.restore(state["patience"])
        self._first_step = checkpoint.step
        return checkpoint.step


def restore_variables(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Restores the variables of a checkpoint into a built and compiled classifier.

    Raises:
        ValueError: if the checkpoint has another architecture.
    """
    variables = _variables(model)
    values = [checkpoint.arrays[f"{i:05d}"] for i in range(checkpoint.state["variables"])]
    shapes = [tuple(variable.shape) for variable in variables]
    if [value.shape for value in values] != shapes:
        raise ValueError(
            f"{checkpoint.folder} belongs to another model or another number of identities: "
            f"expected {len(shapes)} variables with the shapes of the recipe. "
            f"Received: {len(values)} variables"
        )
    waiting, replicas = {id(each) for each in _waiting(model)}, _replicas()
    for variable, value in zip(variables, values, strict=True):
        # Each replica takes an equal part of the gradients that wait for an update.
        variable.assign(value / replicas if id(variable) in waiting else value)


def _variables(model: keras.Model) -> list[Any]:
    """Returns all variables that the next step depends on, except the metrics."""
    everything = (*model.variables, *model.optimizer.variables)
    return [variable for variable in everything if not holds_nothing(variable)]


def _waiting(model: keras.Model) -> list[Any]:
    """Returns the variables with gradients that wait for an update (`accumulate_steps`)."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return list(getattr(optimizer, "_accumulated_gradients", ()))


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _totals(model: keras.Model) -> dict[int, np.ndarray]:
    """Returns the waiting gradients summed over all replicas, by the `id` of their variable.

    Each replica accumulates its own gradients, so a variable alone has those of the first one.
    """
    waiting = _waiting(model)
    if not waiting or _replicas() == 1:
        return {}
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    totals = strategy.run(lambda: global_sum([variable.value for variable in waiting]))
    firsts = [strategy.experimental_local_results(total)[0].numpy() for total in totals]
    return {id(variable): first for variable, first in zip(waiting, firsts, strict=True)}


def _finite(value: np.ndarray) -> bool:
    return not np.issubdtype(value.dtype, np.floating) or bool(np.isfinite(value).all())
