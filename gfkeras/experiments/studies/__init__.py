"""FaceNet's studies: degraded images, smaller embeddings, a new model for an old gallery."""

from gfkeras.experiments.studies.cross_version import CrossVersionResult, evaluate_cross_version
from gfkeras.experiments.studies.study import (
    EMBEDDING_STUDIES,
    IMAGE_STUDIES,
    Study,
    StudyPoint,
    jpeg_compression,
    principal_directions,
    quantize,
    small_image,
    study_embeddings,
    study_figure,
    study_images,
)

__all__ = [
    "EMBEDDING_STUDIES", "IMAGE_STUDIES", "CrossVersionResult", "Study", "StudyPoint",
    "evaluate_cross_version", "jpeg_compression", "principal_directions", "quantize", "small_image",
    "study_embeddings", "study_figure", "study_images",
]  # fmt: skip
