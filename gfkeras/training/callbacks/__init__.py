"""The callbacks of a run: logs, kept models, checkpoints and early ends."""

from gfkeras.training.callbacks.epoch_log import DataEpoch, EpochLog, Throughput
from gfkeras.training.callbacks.step_backup import KeptModels, StepBackup
from gfkeras.training.callbacks.stopping import FiniteLoss, Patience
from gfkeras.training.callbacks.verification import Verification

__all__ = [
    "DataEpoch", "EpochLog", "FiniteLoss", "KeptModels", "Patience", "StepBackup", "Throughput",
    "Verification",
]  # fmt: skip
