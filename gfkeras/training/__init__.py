"""Training: recipes, the trainer, its callbacks and schedules."""

from gfkeras.training.recipe import Recipe
from gfkeras.training.result import TrainingResult
from gfkeras.training.trainer import train
from gfkeras.training.verification import Verification

__all__ = ["Recipe", "TrainingResult", "Verification", "train"]
