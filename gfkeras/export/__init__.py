"""Artefacts that run without gfkeras: SavedModel, TFLite and ONNX, and their verification."""

from gfkeras.export.about import About
from gfkeras.export.exporting import FORMATS, PRECISIONS, check_precision, export_model
from gfkeras.export.graph import export_form
from gfkeras.export.group_flip import GroupFlip
from gfkeras.export.parity import verify
from gfkeras.export.parity_result import ParityResult
from gfkeras.export.preparation import prepare
from gfkeras.export.preparation.head_folding import FoldedHead, fold
from gfkeras.export.quantization import MAX_FACES, MIN_FACES, Int8Settings, QatSettings
from gfkeras.export.tolerance import TOLERANCES

__all__ = [
    "FORMATS",
    "MAX_FACES",
    "MIN_FACES",
    "PRECISIONS",
    "TOLERANCES",
    "About",
    "FoldedHead",
    "GroupFlip",
    "Int8Settings",
    "ParityResult",
    "QatSettings",
    "check_precision",
    "export_form",
    "export_model",
    "fold",
    "prepare",
    "verify",
]
