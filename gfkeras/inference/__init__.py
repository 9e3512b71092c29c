"""Embedding faces with a model in any form, and comparing the embeddings."""

from gfkeras.inference.embedder import Embedder
from gfkeras.inference.embeddings import Embeddings, FileEmbeddings
from gfkeras.inference.gallery import Gallery, Match
from gfkeras.inference.group_aware_similarity import group_aware_similarity
from gfkeras.inference.source_faces import SourceFaces

__all__ = [
    "Embedder",
    "Embeddings",
    "FileEmbeddings",
    "Gallery",
    "Match",
    "SourceFaces",
    "group_aware_similarity",
]
