"""Plots made with matplotlib, but without pyplot and its global state.

The colours are those of Okabe and Ito, which people with any form of colour blindness can
distinguish. Line styles and labels repeat the same information. Text is sized for a width of 720
pixels. Matplotlib is an optional dependency: `pip install 'gfkeras[plots]'`.
"""

from gfkeras.evaluation.plots.curves import det_figure, roc_figure
from gfkeras.evaluation.plots.faces import as_uint8, face_grid, image_data_uri
from gfkeras.evaluation.plots.identification import (
    cmc_figure,
    distractor_figure,
    identification_error_figure,
)
from gfkeras.evaluation.plots.scores import score_histogram, threshold_table
from gfkeras.evaluation.plots.style import figure_svg, save_figure, write_figures
from gfkeras.evaluation.plots.training import group_usage_chart, training_curves

__all__ = [
    "as_uint8", "cmc_figure", "det_figure", "distractor_figure", "face_grid", "figure_svg",
    "group_usage_chart", "identification_error_figure", "image_data_uri", "roc_figure",
    "save_figure", "score_histogram", "threshold_table", "training_curves", "write_figures",
]  # fmt: skip
