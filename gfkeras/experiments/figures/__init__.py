"""Plots of the GroupFace and ArcFace papers, and the numbers behind them.

Each plot is a function that takes numbers and returns a matplotlib plot, made without pyplot. The
code that computes the numbers is in the same module. `gfkeras.evaluation.plots.save_figure` writes
.png and .svg files. Matplotlib is an optional dependency: `pip install 'gfkeras[plots]'`.
"""

from gfkeras.experiments.figures.angles import PairAngles, angle_figure
from gfkeras.experiments.figures.boundaries import (
    DecisionBoundary,
    boundary_figure,
    decision_boundaries,
)
from gfkeras.experiments.figures.faces import (
    ChosenImages,
    NetworkOutputs,
    choose_people,
    draw_images,
    network_outputs,
)
from gfkeras.experiments.figures.groups import (
    GroupDistribution,
    GroupLog,
    SheetRow,
    group_distribution_figure,
    group_sheet_figure,
    group_training_figure,
    sheet_rows,
)
from gfkeras.experiments.figures.margins import MarginCurve, margin_curves, margin_figure
from gfkeras.experiments.figures.toy import ToyEmbedding, check_toy, toy_figure, train_toy
from gfkeras.experiments.figures.tsne import Projection, project, tsne_figure

__all__ = [
    "ChosenImages", "DecisionBoundary", "GroupDistribution", "GroupLog", "MarginCurve",
    "NetworkOutputs", "PairAngles", "Projection", "SheetRow", "ToyEmbedding", "angle_figure",
    "boundary_figure", "check_toy", "choose_people", "decision_boundaries", "draw_images",
    "group_distribution_figure", "group_sheet_figure", "group_training_figure", "margin_curves",
    "margin_figure", "network_outputs", "project", "sheet_rows", "toy_figure", "train_toy",
    "tsne_figure",
]  # fmt: skip
