"""Artefacts that run without gfkeras: SavedModel, TFLite and ONNX, and their verification."""

from gfkeras.export.exporting import FORMATS, PRECISIONS, export_model
from gfkeras.export.folding import FoldedHead, fold
from gfkeras.export.graph import export_form
from gfkeras.export.group_flip import GroupFlip
from gfkeras.export.parity import verify
from gfkeras.export.parity_result import ParityResult

__all__ = [
    "FORMATS",
    "PRECISIONS",
    "FoldedHead",
    "GroupFlip",
    "ParityResult",
    "export_form",
    "export_model",
    "fold",
    "verify",
]
