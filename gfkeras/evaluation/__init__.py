"""Protocols and pictures: take embeddings or scores, give numbers, curves and a report."""

from gfkeras.evaluation.embedded import ImageEmbeddings
from gfkeras.evaluation.metrics import (
    FoldAccuracy,
    Roc,
    area_under_curve,
    effective_groups,
    equal_error_rate,
    kfold_accuracy,
    operating_points,
    roc,
    tar_at_far,
)
from gfkeras.evaluation.pairs import (
    PairList,
    PairsResult,
    all_pairs,
    evaluate_pair_scores,
    evaluate_pairs,
    read_pairs,
    sample_pairs,
    stratified_folds,
)
from gfkeras.evaluation.report import ExportRow, FacePair, ReportContext, write_report
from gfkeras.evaluation.similarity import COSINE, GROUP_AWARE, Similarity

__all__ = [
    "COSINE",
    "GROUP_AWARE",
    "ExportRow",
    "FacePair",
    "FoldAccuracy",
    "ImageEmbeddings",
    "PairList",
    "PairsResult",
    "ReportContext",
    "Roc",
    "Similarity",
    "all_pairs",
    "area_under_curve",
    "effective_groups",
    "equal_error_rate",
    "evaluate_pair_scores",
    "evaluate_pairs",
    "kfold_accuracy",
    "operating_points",
    "read_pairs",
    "roc",
    "sample_pairs",
    "stratified_folds",
    "tar_at_far",
    "write_report",
]
