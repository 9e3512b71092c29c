"""Protocols and pictures: take embeddings or scores, give numbers, curves and a report."""

from gfkeras.evaluation.embedded import ImageEmbeddings
from gfkeras.evaluation.identification import IdentificationResult
from gfkeras.evaluation.ijb import (
    IJBIdentificationResult,
    IJBVerificationResult,
    evaluate_ijb_identification,
    evaluate_ijb_verification,
    ijb_templates,
)
from gfkeras.evaluation.megaface import MegaFaceResult, distractor_blocks, evaluate_megaface
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
from gfkeras.evaluation.template_pooling import Pooling
from gfkeras.evaluation.thresholds import Thresholds
from gfkeras.evaluation.tuning import TunedSimilarity, tune_similarity
from gfkeras.evaluation.validation_rate import ValidationRateResult, evaluate_validation_rate
from gfkeras.evaluation.youtube_faces import evaluate_youtube_faces

__all__ = [
    "COSINE",
    "GROUP_AWARE",
    "ExportRow",
    "FacePair",
    "FoldAccuracy",
    "IJBIdentificationResult",
    "IJBVerificationResult",
    "IdentificationResult",
    "ImageEmbeddings",
    "MegaFaceResult",
    "PairList",
    "PairsResult",
    "Pooling",
    "ReportContext",
    "Roc",
    "Similarity",
    "Thresholds",
    "TunedSimilarity",
    "ValidationRateResult",
    "all_pairs",
    "area_under_curve",
    "distractor_blocks",
    "effective_groups",
    "equal_error_rate",
    "evaluate_ijb_identification",
    "evaluate_ijb_verification",
    "evaluate_megaface",
    "evaluate_pair_scores",
    "evaluate_pairs",
    "evaluate_validation_rate",
    "evaluate_youtube_faces",
    "ijb_templates",
    "kfold_accuracy",
    "operating_points",
    "read_pairs",
    "roc",
    "sample_pairs",
    "stratified_folds",
    "tar_at_far",
    "tune_similarity",
    "write_report",
]
