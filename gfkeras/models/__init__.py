"""Whole models: GroupFace, and the classifier that trains it."""

from gfkeras.models.complexity import count_macs
from gfkeras.models.face_classifier import FaceClassifier
from gfkeras.models.groupface import GroupFace
from gfkeras.models.outputs import as_outputs

__all__ = ["FaceClassifier", "GroupFace", "as_outputs", "count_macs"]
