"""Sub-center data cleaning (Sub-center ArcFace, ECCV 2020): finding images with a wrong label."""

from gfkeras.experiments.cleaning.cleaning import clean
from gfkeras.experiments.cleaning.result import CleaningResult, DroppedImage
from gfkeras.experiments.cleaning.sub_centers import (
    DominantCenters,
    OperatingPoint,
    dominant_centers,
    flip_labels,
    operating_curve,
    own_cosines,
)

__all__ = [
    "CleaningResult", "DominantCenters", "DroppedImage", "OperatingPoint", "clean",
    "dominant_centers", "flip_labels", "operating_curve", "own_cosines",
]  # fmt: skip
