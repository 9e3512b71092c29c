"""Training: recipes, the trainer, its callbacks and schedules."""

from gfkeras.training.callbacks import Verification
from gfkeras.training.recipe import Recipe
from gfkeras.training.result import TrainingResult
from gfkeras.training.trained import load_classifier
from gfkeras.training.trainer import train

__all__ = ["Recipe", "TrainingResult", "Verification", "load_classifier", "train"]
