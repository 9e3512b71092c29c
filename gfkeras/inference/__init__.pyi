from .embedder import Embedder as Embedder
from .embeddings import Embeddings as Embeddings
from .embeddings import FileEmbeddings as FileEmbeddings
from .gallery import Gallery as Gallery
from .gallery import Match as Match
from .group_aware_similarity import group_aware_similarity as group_aware_similarity
from .source_faces import SourceFaces as SourceFaces
