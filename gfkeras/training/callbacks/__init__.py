"""What happens around the steps of a run: logs, models kept, checkpoints, early ends."""

from gfkeras.training.callbacks.data_epoch import DataEpoch
from gfkeras.training.callbacks.epoch_log import EpochLog
from gfkeras.training.callbacks.finite_loss import FiniteLoss
from gfkeras.training.callbacks.kept_models import KeptModels
from gfkeras.training.callbacks.patience import Patience
from gfkeras.training.callbacks.step_backup import StepBackup
from gfkeras.training.callbacks.throughput import Throughput
from gfkeras.training.callbacks.verification import Verification

__all__ = [
    "DataEpoch",
    "EpochLog",
    "FiniteLoss",
    "KeptModels",
    "Patience",
    "StepBackup",
    "Throughput",
    "Verification",
]
