"""Export to SavedModel, TFLite and ONNX, and verification of the exported artefacts."""

from gfkeras.export.card_content import About
from gfkeras.export.exporting import FORMATS, PRECISIONS, check_precision, export_model
from gfkeras.export.graph import export_form
from gfkeras.export.parity import TOLERANCES, GroupFlip, ParityResult, verify
from gfkeras.export.preparation import prepare
from gfkeras.export.preparation.flattening import FoldedHead, fold
from gfkeras.export.quantization import MAX_FACES, MIN_FACES, Int8Settings, QatSettings

__all__ = [
    "FORMATS", "MAX_FACES", "MIN_FACES", "PRECISIONS", "TOLERANCES", "About", "FoldedHead",
    "GroupFlip", "Int8Settings", "ParityResult", "QatSettings", "check_precision", "export_form",
    "export_model", "fold", "prepare", "verify",
]  # fmt: skip
