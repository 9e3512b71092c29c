"""Callbacks of a training run: logs, saved models, checkpoints and early stopping."""

from gfkeras.training.callbacks.epoch_log import DataEpoch, EpochLog, Throughput
from gfkeras.training.callbacks.step_backup import KeptModels, StepBackup
from gfkeras.training.callbacks.stopping import FiniteLoss, Patience
from gfkeras.training.callbacks.verification import Verification

__all__ = [
    "DataEpoch", "EpochLog", "FiniteLoss", "KeptModels", "Patience", "StepBackup", "Throughput",
    "Verification",
]  # fmt: skip
