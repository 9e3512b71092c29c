"""Ablations: a grid of variants of a recipe, trained with several seeds, and the result table."""

from gfkeras.experiments.ablation.ablating import ablate
from gfkeras.experiments.ablation.data_amount import amount_figure
from gfkeras.experiments.ablation.faces import TrainingFaces
from gfkeras.experiments.ablation.grid import Grid
from gfkeras.experiments.ablation.result import AblationResult, RowResult, Statistic
from gfkeras.experiments.ablation.row import Scoring

__all__ = [
    "AblationResult", "Grid", "RowResult", "Scoring", "Statistic", "TrainingFaces", "ablate",
    "amount_figure",
]  # fmt: skip
