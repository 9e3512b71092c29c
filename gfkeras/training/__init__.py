"""Training: recipes, the trainer, its callbacks and schedules."""

from gfkeras.training.callbacks import Verification
from gfkeras.training.recipe import Recipe
from gfkeras.training.run_folder import TrainingResult
from gfkeras.training.trainer import load_classifier, train

__all__ = ["Recipe", "TrainingResult", "Verification", "load_classifier", "train"]
