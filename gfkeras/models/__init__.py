"""The GroupFace model, and the classifier that trains face models."""

from gfkeras.models.face_classifier import FaceClassifier
from gfkeras.models.group_usage import GroupUsage
from gfkeras.models.groupface import GroupFace
from gfkeras.models.properties import as_outputs, count_macs
from gfkeras.models.replicas import LossScaling, synchronize_batch_norm

__all__ = [
    "FaceClassifier", "GroupFace", "GroupUsage", "LossScaling", "as_outputs", "count_macs",
    "synchronize_batch_norm",
]  # fmt: skip
