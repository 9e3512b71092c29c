"""Model inversion: faces from embeddings and class centers (ArcFace, section 3.3)."""

from gfkeras.experiments.inversion.inverting import invert
from gfkeras.experiments.inversion.objective import InversionSettings
from gfkeras.experiments.inversion.targets import Targets

__all__ = ["InversionSettings", "Targets", "invert"]
