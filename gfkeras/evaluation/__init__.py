"""Protocols and pictures: take embeddings or scores, give numbers, curves and a report."""

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
    FileEmbeddings,
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

__all__ = [
    "ExportRow",
    "FacePair",
    "FileEmbeddings",
    "FoldAccuracy",
    "PairList",
    "PairsResult",
    "ReportContext",
    "Roc",
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
