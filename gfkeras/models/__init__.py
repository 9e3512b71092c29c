"""Whole models: GroupFace, and the classifier that trains it."""

from gfkeras.models.batch_norm import synchronize_batch_norm
from gfkeras.models.complexity import count_macs
from gfkeras.models.face_classifier import FaceClassifier
from gfkeras.models.group_usage import GroupUsage
from gfkeras.models.groupface import GroupFace
from gfkeras.models.loss_scaling import LossScaling
from gfkeras.models.outputs import as_outputs

__all__ = [
    "FaceClassifier",
    "GroupFace",
    "GroupUsage",
    "LossScaling",
    "as_outputs",
    "count_macs",
    "synchronize_batch_norm",
]
